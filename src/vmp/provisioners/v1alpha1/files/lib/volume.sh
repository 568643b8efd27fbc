# Storage volumes. A volume that is filled from a file is made with one byte, then uploaded into: until it has the
# file's size it is incomplete, whoever made it. Rounds of look, decide and act lead to the state that is wanted.
# (It is made as raw, because a fresh qcow2 can be larger than the file; libvirt reads the real format once the
# upload has ended.)
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

partial=' ' # numbers of the volumes that this run has made and not yet filled
filled=' '  # and of those that it has filled
grown=' '   # and of those that it has grown
volume_tries=0

# next_volume: takes one record off $facts; $path is '' when the volume is not there. $listed is not, when libvirt lists a
# volume whose file somebody removed: it can only be deleted.
next_volume() {
	number=$((number + 1))
	next_fact && physical=$fact
	next_fact && capacity=$fact
	next_fact && path=$fact
	next_fact && base_capacity=$fact
	next_fact && base_path=$fact
	listed=$path
	[ "$physical" ] || path=''
	[ "$base_capacity" ] || base_path=''
}

# volumes_missing: true when one of them is not there
volumes_missing() {
	missing='' number=0 facts=$volume_facts
	each_volume note_missing
	[ "$missing" ]
}

note_missing() {
	next_volume
	[ "$path" ] || missing=yes
}

# plan_volumes: the next step towards each
plan_volumes() {
	xml_count=0 # so that the files of a round can be foreseen
	each_pool queue_pool
	deferred='' uploading='' number=0 facts=$volume_facts
	each_volume plan_volume
}

# create_volumes THEN: what is made of them (as for make_volumes) may begin once they are there
create_volumes() {
	while :; do
		settle_volumes
		[ -z "$1" ] || begin_domain_xml
		plan_volumes
		if [ -z "$batch" ]; then
			number=0 facts=$volume_facts
			each_volume check_fixed
			[ -z "$deferred" ] || die "volume $deferred is missing; another volume is backed by it"
			await_seed || exit 1 # that no volume is filled from
			return 0
		fi
		look
		put_aside
		is_among_foreseen "$aside_batch" || {
			hang_up
			foreseen='' foreseen_bytes=0
			foresee_rest "$1"
		}
		number=0 facts=$volume_facts
		each_volume check_fixed
		take_up
		[ -z "$uploading" ] || meanwhile=look_at_domain_xml
		run_batch || mend_volumes
	done
}

# put_aside, take_up: what is planned, and the XML files that it names, wait while a question is asked
put_aside() {
	aside_batch=$batch aside_bytes=$batch_bytes aside_xml=$xml_files aside_facts=$facts aside_number=$number
	batch='' batch_bytes=0 xml_files=''
}

take_up() {
	batch=$aside_batch batch_bytes=$aside_bytes xml_files=$aside_xml facts=$aside_facts number=$aside_number
}

# plan_volume POOL NAME FORMAT POLICY CAPACITY KIND SOURCE…: queues the next step towards it
plan_volume() {
	next_volume
	case $6 in
		upload) plan_upload "$@" ;;
		node) [ "$path" ] || die "volume $1/$2 is missing; node $node_name was to fill it from the image" ;;
		blank)
			[ -z "$path" ] || {
				plan_growth "$@"
				return
			}
			queue_create_volume "$1" "$2" "$3" "$5"
			queue_done "created volume $1/$2"
			;;
		backing)
			[ -z "$path" ] || {
				plan_growth "$@"
				return
			}
			# Its capacity is at least the backing volume's, which is not known before that is filled.
			if [ -z "$base_path" ] || has_line "$uploading" "$7/$8"; then
				deferred=$7/$8
				return 0
			fi
			if [ "$5" ] && [ "$base_capacity" ] && [ -z "$imagined" ]; then
				bytes_of "$5"
				[ "$bytes" -ge "$base_capacity" ] ||
					die "volume $1/$2 is to have $5, less than the $base_capacity bytes of $7/$8, on which it is based" \
						'a disk cannot be cut off: give it more, or no capacity at all'
			fi
			queue_create_volume "$1" "$2" "$3" "${5:-$base_capacity}" "$base_path" "$9"
			queue_done "created volume $1/$2"
			;;
	esac
}

# queue_create_volume POOL NAME FORMAT CAPACITY [BACKING-PATH BACKING-FORMAT]
queue_create_volume() {
	escape "$2"
	volume_xml="<volume><name>$escaped</name>"
	escape "${4##*[0-9]}"
	volume_xml="$volume_xml<capacity unit='${escaped# }'>"
	escape "${4%"${4##*[0-9]}"}"
	volume_xml="$volume_xml$escaped</capacity><allocation>0</allocation>"
	escape "$3"
	volume_xml="$volume_xml<target><format type='$escaped'/>"
	[ "$3" != qcow2 ] || volume_xml="$volume_xml<compat>1.1</compat>" # else libvirt makes QEMU's format before 2012
	volume_xml="$volume_xml</target>"
	if [ $# -gt 4 ]; then
		escape "$5"
		volume_xml="$volume_xml<backingStore><path>$escaped</path>"
		escape "$6"
		volume_xml="$volume_xml<format type='$escaped'/></backingStore>"
	fi
	queue_xml "$volume_xml</volume>" vol-create "--pool=$1"
}

plan_upload() {
	case $partial in
		*" $number "*)
			[ "$7" != "$seed_path" ] || await_seed || {
				undo_volumes
				exit 1
			}
			check_upload "$@"
			file_size "$7"
			fill_mib=$(((size + 1048575) / 1048576))
			if worth_copying && can_copy; then
				say "copying $7 ($fill_mib MiB) to volume $1/$2"
				copy_file "$7"
				queue_refresh_of "$@"
			else
				say "uploading $7 ($fill_mib MiB) to volume $1/$2"
				queue_upload "$@"
				batch_bytes=$((batch_bytes + size))
			fi
			uploading=$uploading$1/$2$nl
			return
			;;
	esac
	if [ "$path" ]; then
		plan_growth "$@"
		# The seed's volume is made anew with each domain: it is small, and must never be an old one.
		[ "$7" = "$seed_path" ] && [ -z "$domain_state" ] || return 0
		case $filled in
			*" $number "*) return ;;
		esac
		put_aside
		find_users
		! user_of "$path" "$1/$2" || die "volume $1/$2 is used by $user: it is not this VM's to fill" \
			'give the volume another name or pool'
		take_up
		queue vol-delete "--pool=$1" "--vol=$2"
	fi
	check_upload "$@"
	queue_create_volume "$1" "$2" raw 1
	mark "made $number"
}

check_upload() {
	[ "$7" = "$seed_path" ] && [ "$seed_pid" ] || [ -s "$7" ] ||
		give_volumes_up "cannot upload $7 to volume $1/$2: there is no such file, or it is empty"
}

# plan_growth POOL NAME FORMAT POLICY CAPACITY…: before there is a domain, a volume that is smaller than described is
# grown: one that was just uploaded begins with the capacity of its file, one that was retained may be older
plan_growth() {
	[ "$5" ] && [ -z "$domain_state" ] || return 0
	bytes_of "$5"
	case $grown in
		*" $number "*) return ;;
	esac
	[ "$capacity" -lt "$bytes" ] || return 0
	grown="$grown$number "
	queue_growth "$1" "$2" "$5"
}

# queue_growth POOL NAME CAPACITY
queue_growth() {
	bytes_of "$3"
	queue vol-resize "--pool=$1" "--vol=$2" "--capacity=$bytes"
	queue_done "grew volume $1/$2 to $3"
}

# bytes_of CAPACITY: the number in $bytes. As virsh has it, K and KiB are 1024 bytes, KB is 1000.
bytes_of() {
	bytes=${1%%[!0-9]*}
	bytes_unit=${1#"$bytes"}
	bytes=${bytes#"${bytes%%[!0]*}"} # a leading zero would mean octal to the shell
	case $bytes_unit in
		[KMGTPEkmgtpe][Bb]) bytes_factor=1000 ;;
		*) bytes_factor=1024 ;;
	esac
	case $bytes_unit in
		[Kk]*) bytes_power=1 ;;
		[Mm]*) bytes_power=2 ;;
		[Gg]*) bytes_power=3 ;;
		[Tt]*) bytes_power=4 ;;
		[Pp]*) bytes_power=5 ;;
		[Ee]*) bytes_power=6 ;;
		*) bytes_power=0 ;;
	esac
	while [ "$bytes_power" -gt 0 ]; do
		bytes=$((bytes * bytes_factor))
		bytes_power=$((bytes_power - 1))
	done
}

# mend_volumes: after a failure that another run, or a busy pool, may have caused, look again; else clean up and stop
mend_volumes() {
	mend_failure=$failure
	volume_tries=$((volume_tries + 1))
	case $mend_failure in
		'Failed to create vol'*'No such file or directory'*) # the directory of a pool of ours is gone
			if [ "$volume_tries" -eq 1 ]; then
				each_pool queue_rebuild
				[ -z "$batch" ] || run_batch || :
				observe
				check_pools
				return
			fi
			;;
		*'exists already'* | *'already exists'* | *'in use already'* | *'File exists'* | *'asynchronous jobs'* | *'still in use'* | \
			*'still being allocated'* | *'no storage vol'* | *'already active'* | *'Could not retrieve pool information'*)
			if [ "$volume_tries" -le 10 ]; then
				sleep 1
				number=0 facts=$volume_facts
				each_volume queue_refresh
				run_batch || :
				observe
				check_pools
				return
			fi
			;;
	esac
	give_volumes_up 'could not make the volumes' "$mend_failure"
}

# libvirt makes no directory for a pool that it takes for active.
queue_rebuild() {
	has_line "$active_pools" "$1" || return 0
	queue pool-destroy "--pool=$1"
	queue pool-build "--pool=$1"
	queue pool-start "--pool=$1"
}

# give_volumes_up MESSAGE…
give_volumes_up() {
	undo_volumes
	die "$@"
}

# undo_volumes: nothing half made stays behind
undo_volumes() {
	batch='' number=0
	each_volume queue_undo
	[ -z "$batch" ] || run_batch || :
}

# A file that is there, while its pool does not know it.
queue_refresh() {
	next_volume
	[ "$path" ] || queue pool-refresh "--pool=$1"
}

queue_undo() {
	number=$((number + 1))
	case $partial in
		*" $number "*) queue vol-delete "--pool=$1" "--vol=$2" ;;
	esac
}

# note_filled NUMBER POOL/NAME: its upload has ended without an error (called by read_mark)
note_filled() {
	partial="${partial%%" ${1%% *} "*} ${partial#*" ${1%% *} "}"
	filled="$filled${1%% *} "
	achieved="${achieved}created volume ${1#* }$nl"
	say "created volume ${1#* }"
}
