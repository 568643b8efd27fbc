# Whether a volume that is there is whole, and is what its file says.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

checked=' ' # numbers of the volumes that this run has compared with their file

# settle_volumes: a volume smaller than its file is either being uploaded by somebody else (it grows: wait), or was
# abandoned by an interrupted run (it does not grow: delete it). libvirt itself does not protect it.
settle_volumes() {
	settled='' number=0 facts=$volume_facts
	each_volume settle_volume
	[ -z "$settled" ] || observe
}

settle_volume() {
	next_volume
	[ "$6" = upload ] && [ "$path" ] || return 0
	case $filled in
		*" $number "*) ;;
		*) [ -z "$domain_state" ] && [ "$7" != "$seed_path" ] || return 0 ;; # a domain is only defined on whole volumes
	esac
	case $partial in
		*" $number "*) return ;;
	esac
	if [ ! -s "$7" ]; then
		case $filled in
			*" $number "*) partial="$partial$number " ;; # nobody can tell what was uploaded
		esac
		give_volumes_up "cannot tell whether volume $1/$2 is complete: there is no $7, or it is empty"
	fi
	file_size "$7"
	[ "$physical" -lt "$size" ] || return 0 # a guest's writes may have made it larger
	settled=yes still=0 settle_facts=$facts
	say "volume $1/$2 is incomplete ($physical of $size bytes): waiting to see whether it grows"
	while [ "$still" -lt 10 ] && [ "$physical" -lt "$size" ]; do
		sleep 1
		settle_size=$physical
		look_one "$1" "$2"
		[ "$path" ] || break
		still=$((still + 1))
		[ "$physical" = "$settle_size" ] || still=0
	done
	facts=$settle_facts
	[ "$path" ] && [ "$physical" -lt "$size" ] || return 0
	check_abandoned "$@"
	queue vol-delete "--pool=$1" "--vol=$2"
	queue_done "deleted volume $1/$2, which an interrupted run had left incomplete"
	run_batch || die "could not delete the incomplete volume $1/$2" "$failure"
}

# look_one POOL NAME: only that volume
look_one() {
	settle_number=$number
	mark look-volumes
	mark volume
	queue vol-info --bytes --physical "--pool=$1" "--vol=$2"
	queue vol-path "--pool=$1" "--vol=$2"
	mark looked
	run_batch || die "libvirt did not answer as it should" "$failure"
	facts=$volume_facts
	next_volume
	number=$settle_number
}

# check_abandoned POOL NAME … upload FILE: it is only ours to delete when nobody uses it, and when it is the beginning
# of our file
check_abandoned() {
	settle_path=$path settle_physical=$physical settle_capacity=$capacity
	observe
	find_users
	user_of "$settle_path" "$1/$2" &&
		die "volume $1/$2 has $settle_physical bytes and its file $7 has $size, but $user uses it" \
			"give this VM's volume another name, or delete it when it is not needed"
	if [ "$settle_capacity" -gt 1024 ]; then # else it was only made, and nothing has come into it
		same_ends "$1" "$2" "$7" "$settle_physical" || die_other "$1" "$2" "$7" "$settle_physical"
	fi
}

# same_ends POOL NAME FILE BYTES: whether the first and the last 64 KiB of so many bytes are those of the file
same_ends() {
	queue_ends "$1" "$2" "$4"
	run_batch || die "could not read volume $1/$2" "$failure"
	ends_same=yes
	head -c "$ends_length" <"$3" | cmp -s - volume.tmp || ends_same=''
	tail -c "+$((ends_last + 1))" <"$3" | head -c "$ends_length" | cmp -s - volume-end.tmp || ends_same=''
	rm -f volume.tmp volume-end.tmp
	[ "$ends_same" ]
}

# queue_ends POOL NAME BYTES: both ends of so many are read
queue_ends() {
	ends_length=$3
	[ "$ends_length" -le 65536 ] || ends_length=65536
	ends_last=$(($3 - ends_length))
	queue vol-download "--pool=$1" "--vol=$2" --file=volume.tmp "--length=$ends_length"
	queue vol-download "--pool=$1" "--vol=$2" --file=volume-end.tmp "--offset=$ends_last" "--length=$ends_length"
}

# die_other POOL NAME FILE BYTES
die_other() {
	file_size "$3"
	die "volume $1/$2 is something else than $3: it has $4 bytes, the file has $size" \
		"give this VM's volume another name, or delete it when it is not needed"
}

# check_fixed POOL NAME FORMAT POLICY CAPACITY KIND FILE: a volume that no guest writes to, and that was there before us,
# must be our file: not an earlier image of the same name
check_fixed() {
	next_volume
	is_fixed "$@" || return 0
	checked="$checked$number "
	fixed_facts=$facts fixed_number=$number fixed_physical=$physical
	file_size "$7"
	same_ends "$1" "$2" "$7" "$size" || die_other "$1" "$2" "$7" "$fixed_physical"
	facts=$fixed_facts number=$fixed_number
}

# is_fixed POOL NAME…: after next_volume
is_fixed() {
	[ "$6" = upload ] && [ "$path" ] && [ -z "$5" ] && [ -z "$domain_state" ] && [ "$7" != "$seed_path" ] || return 1
	case $filled$partial$checked in
		*" $number "*) return 1 ;;
	esac
	fixed='' fixed_name=$1/$2
	each_volume note_base
	virt_install_options note_read_only
	[ "$fixed" ]
}

note_base() {
	[ "$6" != backing ] || [ "$7/$8" != "$fixed_name" ] || fixed=yes
}

note_read_only() {
	for fixed_option; do
		case $fixed_option, in
			--disk=vol="$fixed_name",* | --disk=*,vol="$fixed_name",*)
				case $fixed_option, in
					*,device=cdrom,* | *,readonly,* | *,readonly=on,* | *,readonly=yes,*) fixed=yes ;;
				esac
				;;
		esac
	done
}
