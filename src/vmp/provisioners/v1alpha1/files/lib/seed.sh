# The cloud-init seed: an ISO of the documents in "$seed_path.d", made again when they have changed.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

need_for_seed() {
	[ -z "$seed_path" ] || need 'make the cloud-init seed' xorriso genisoimage mkisofs cloud-localds
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

# build_seed: beside other work, until await_seed
build_seed() {
	[ "$seed_path" ] || return 0
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
	have xorriso genisoimage mkisofs cloud-localds
	make_seed &
	seed_pid=$!
	trap leave EXIT
}

# await_seed: false when it could not be made, and that has been said
await_seed() {
	[ "$seed_pid" ] || return 0
	seed_code=0
	wait "$seed_pid" || seed_code=$?
	seed_pid=''
	[ "$seed_code" -eq 0 ] || return 1
	say "made $seed_path"
}

make_seed() {
	[ ! -e "$seed_file.sum" ] || rm -f "$seed_file.sum"
	set --
	for document in meta-data user-data vendor-data network-config; do
		[ ! -e "$seed_file.d/$document" ] || set -- "$@" "$seed_file.d/$document"
	done
	seed_code=0
	seed_output=$(make_iso "$@" 2>&1) || seed_code=$?
	if [ "$seed_code" -ne 0 ] && ! timed_out "$seed_code"; then # xorriso 1.5.4 crashes once in a thousand times
		seed_code=0
		seed_output=$(make_iso "$@" 2>&1) || seed_code=$?
	fi
	! timed_out "$seed_code" || seed_output="$found took longer than $V1ALPHA1_COMMAND_TIMEOUT_SECS seconds and was ended"
	if [ "$seed_code" -ne 0 ] || [ ! -s "$seed_file.tmp" ]; then
		rm -f "$seed_file.tmp"
		die "could not make $seed_path" "${seed_output:-$found made nothing (exit code $seed_code)}"
	fi
	mv -f "$seed_file.tmp" "$seed_file"
	size "$seed_file"
	printf '%s\n' "$seed $size" >"$seed_file.sum" || die_of_disk
}

# make_iso DOCUMENT…: with the command that `have` found
make_iso() {
	[ ! -e "$seed_file.tmp" ] || rm -f "$seed_file.tmp"
	case $found in
		xorriso) # not by its mkisofs emulation, which fails below a directory with a '=' in its name
			for document; do
				set -- "$@" -map "$document" "/${document##*/}"
				shift
			done
			bounded "$V1ALPHA1_COMMAND_TIMEOUT_SECS" xorriso -no_rc -report_about SORRY -outdev "$seed_file.tmp" -volid cidata -joliet on -rockridge on "$@"
			;;
		cloud-localds)
			set -- "$seed_file.tmp" "$seed_file.d/user-data" "$seed_file.d/meta-data"
			[ ! -e "$seed_file.d/vendor-data" ] || set -- "--vendor-data=$seed_file.d/vendor-data" "$@"
			[ ! -e "$seed_file.d/network-config" ] || set -- "--network-config=$seed_file.d/network-config" "$@"
			bounded "$V1ALPHA1_COMMAND_TIMEOUT_SECS" cloud-localds "$@"
			;;
		*) bounded "$V1ALPHA1_COMMAND_TIMEOUT_SECS" "$found" -quiet -output "$seed_file.tmp" -volid cidata -joliet -rational-rock "$@" ;;
	esac
}
