# The cloud-init seed: an ISO of the documents in "$seed_path.d", made again when they have changed.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

# The first that is there: xorriso sleeps for a tenth of a second, and mkisofs may be xorriso.
seed_tools() {
	"$@" genisoimage xorriso mkisofs cloud-localds
}

need_for_seed() {
	[ -z "$seed_path" ] || seed_tools need 'make the cloud-init seed'
}

# seed_checksum: of the documents, in $seed. Once in a run.
seed_checksum() {
	[ "$seed_path" ] && [ -z "$seed" ] || return 0
	set --
	for document in meta-data user-data vendor-data network-config; do
		[ ! -e "$seed_path.d/$document" ] || set -- "$@" "$document"
	done
	[ $# -gt 0 ] || return 0
	seed_sums=$(cd -- "$seed_path.d" && cksum "$@") || die "cannot read the documents in $seed_path.d"
	while read -r seed_sum seed_size document; do
		seed="$seed${seed:+.}${document%%-*}-$seed_sum-$seed_size"
	done <<-EOF_SUMS
		$seed_sums
	EOF_SUMS
}

# build_seed: beside other work, until await_seed. "$seed_file.sum" says what the file was made from; while it is made, what
# the tool says is written there, so that nothing half made has a sum.
build_seed() {
	[ "$seed_path" ] && [ -z "$seed_pid" ] || return 0
	local_file "$seed_path"
	seed_file=$local_file
	seed_checksum
	seed_stamp=''
	[ ! -e "$seed_file.sum" ] || read -r seed_stamp <"$seed_file.sum" || :
	if [ -s "$seed_file" ]; then
		size "$seed_file"
		[ "$seed_stamp" != "$seed $size" ] || return 0
	fi
	find_bound
	seed_tools have
	seed_tool=$found
	begin_iso
	trap leave EXIT # and no signals: the shell would heed them only after a download
}

# foresee_seed: where the file is not there, it is likely wanted, and made while libvirt is asked what there is
foresee_seed() {
	[ "$seed_path" ] || return 0
	local_file "$seed_path"
	[ ! -s "$local_file" ] && seed_tools have || return 0
	build_seed
}

begin_iso() {
	[ ! -e "$seed_file.tmp" ] || rm -f "$seed_file.tmp"
	exec_iso >"$seed_file.sum" 2>&1 5<&- &
	seed_pid=$!
}

# await_seed: false when it could not be made, and that has been said
await_seed() {
	[ "$seed_pid" ] || return 0
	await_iso
	if [ "$seed_code" -ne 0 ] && ! timed_out "$seed_code"; then # xorriso 1.5.4 crashes once in a thousand times
		begin_iso
		await_iso
	fi
	if [ "$seed_code" -ne 0 ] || [ ! -s "$seed_file.tmp" ]; then
		seed_output=$(cat "$seed_file.sum") || seed_output=''
		! timed_out "$seed_code" || seed_output="$seed_tool took longer than $V1ALPHA1_COMMAND_TIMEOUT_SECS seconds and was ended"
		rm -f "$seed_file.tmp" "$seed_file.sum"
		(die "could not make $seed_path" "${seed_output:-$seed_tool made nothing (exit code $seed_code)}")
		return 1
	fi
	mv -f "$seed_file.tmp" "$seed_file"
	file_size "$seed_path"
	printf '%s\n' "$seed $size" >"$seed_file.sum" || die_of_disk
	say "made $seed_path"
}

await_iso() {
	seed_code=0
	wait "$seed_pid" || seed_code=$?
	seed_pid=''
}

# give_up_seed: that is in the making
give_up_seed() {
	[ "$seed_pid" ] || return 0
	kill "$seed_pid" 2>/dev/null || :
	wait "$seed_pid" 2>/dev/null || :
	seed_pid=''
	rm -f "$seed_file.tmp" "$seed_file.sum"
}

# exec_iso: "$seed_file.tmp" of all documents, in place of this shell
exec_iso() {
	set --
	for document in meta-data user-data vendor-data network-config; do
		[ ! -e "$seed_file.d/$document" ] || set -- "$@" "$seed_file.d/$document"
	done
	case $seed_tool in
		xorriso) # not by its mkisofs emulation, which fails below a directory with a '=' in its name
			for document; do
				set -- "$@" -map "$document" "/${document##*/}"
				shift
			done
			set -- -no_rc -report_about SORRY -outdev "$seed_file.tmp" -volid cidata -joliet on -rockridge on "$@"
			;;
		cloud-localds)
			set -- "$seed_file.tmp" "$seed_file.d/user-data" "$seed_file.d/meta-data"
			[ ! -e "$seed_file.d/vendor-data" ] || set -- "--vendor-data=$seed_file.d/vendor-data" "$@"
			[ ! -e "$seed_file.d/network-config" ] || set -- "--network-config=$seed_file.d/network-config" "$@"
			;;
		*) set -- -quiet -output "$seed_file.tmp" -volid cidata -joliet -rational-rock "$@" ;;
	esac
	exec_bounded "$V1ALPHA1_COMMAND_TIMEOUT_SECS" "$seed_tool" "$@" </dev/null
}
