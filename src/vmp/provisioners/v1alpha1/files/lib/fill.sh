# How a file gets into a volume that was made for it: through libvirt, or, where libvirt is on this host and the volume's
# file may be written, by cat or cp, which is several times faster. Either way the volume grows with what has come.
# shellcheck shell=sh disable=SC2154 # the files of lib/ and vm.sh share their variables

# queue_upload POOL NAME FORMAT POLICY CAPACITY upload FILE; after file_size
queue_upload() {
	if has_holes "$7"; then # they stay holes
		queue vol-upload "--pool=$1" "--vol=$2" "--file=$7" --sparse
	else
		queue vol-upload "--pool=$1" "--vol=$2" "--file=$7"
	fi
	mark "filled $number $1/$2"
}

# has_holes FILE: after size FILE; true when much less of it is on the disk (a compressing file system looks the same)
has_holes() {
	[ "$size" -gt 1048576 ] || return 1
	holes=$(du -k "$1") || return 1
	[ "$((${holes%%[!0-9]*} * 1024 + 1048576))" -lt "$size" ]
}

# worth_copying: after file_size; true for so much that another look at the pool costs less
worth_copying() {
	[ "$size" -ge 33554432 ] || return 1
	case $libvirt_uri in
		*\?*) return 1 ;; # its socket may lead to another host
		qemu:///* | qemu+unix:///*) ;;
		*) return 1 ;;
	esac
}

# copies_likely: before the volume is there
copies_likely() {
	case $libvirt_uri in
		*/session) return 0 ;;
	esac
	copy_user=$(id -u) && [ "$copy_user" = 0 ]
}

# can_copy: true when $path is the file of one byte that libvirt has just made, as seen from here
can_copy() {
	[ -f "$path" ] && [ ! -L "$path" ] && [ -w "$path" ] || return 1
	copy_size=$(wc -c <"$path") && [ "$((copy_size))" -eq 1 ]
}

# copy_file FILE: into $path; holes stay holes. cp would empty the file first, and ext4 then writes all of it to the disk
# when it is closed (auto_da_alloc): so cat writes over the one byte.
copy_file() {
	bound_of "$size"
	local_file "$1"
	copy_code=0
	if has_holes "$1"; then
		copy_output=$(bounded "$bound_seconds" cp "$local_file" "$path" 2>&1) || copy_code=$?
	else
		copy_output=$(bounded "$bound_seconds" cat "$local_file" 2>&1 1<>"$path") || copy_code=$?
	fi
	! timed_out "$copy_code" || copy_output="copying took longer than $bound_seconds seconds and was ended"
	[ "$copy_code" -eq 0 ] || give_volumes_up "could not copy $1 to $path" "${copy_output:-exit code $copy_code}"
}

# queue_refresh_of POOL NAME…: libvirt sees what it did not write itself
queue_refresh_of() {
	queue pool-refresh "--pool=$1"
	mark "filled $number $1/$2"
}
