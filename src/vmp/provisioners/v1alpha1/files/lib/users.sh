# Who uses a volume: the disks of every other domain, running or not, and the backing chains of every other volume.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

# find_users: $users is then a list of pairs of lines, what is used (path, or pool/volume) and by whom
find_users() {
	users='' volume_paths=''
	look_node_pools
	run_users
	queue_pools
	[ -z "$batch" ] || run_users
	find_backing
}

# queue_pools: of the whole node
queue_pools() {
	users_rest=$node_pools
	while [ "$users_rest" ]; do
		queue_vol_list "${users_rest%%"$nl"*}"
		users_rest=${users_rest#*"$nl"}
	done
}

queue_vol_list() {
	mark "users pool $1"
	queue vol-list "--pool=$1"
	[ "${#batch}" -lt 60000 ] || run_users
}

# find_backing: what the volumes are backed by, and what domains use (last: libvirt does not tell of a domain while it
# pulls its plug)
find_backing() {
	users_rest=$volume_paths
	while [ "$users_rest" ]; do
		users_rest=${users_rest#*"$nl"} # the pool
		users_path=${users_rest%%"$nl"*}
		users_rest=${users_rest#*"$nl"}
		mark "users volume $users_path"
		queue vol-dumpxml "--vol=$users_path"
		[ "${#batch}" -lt 60000 ] || run_users
	done
	queue_domains
	[ -z "$batch" ] || run_users
	outside_seen=''
	find_backing_outside
}

queue_domains() {
	users_rest=$domains
	while [ "$users_rest" ]; do
		users_line=${users_rest%%"$nl"*}
		users_rest=${users_rest#*"$nl"}
		[ "${users_line%%[[:space:]]*}" != "$domain_uuid" ] || continue
		users_name=${users_line#*[[:space:]]}
		users_name=${users_name%"${users_name##*[! ]}"}
		mark "users domain $users_name"
		queue dumpxml "--domain=${users_line%%[[:space:]]*}"
		queue dumpxml --inactive "--domain=${users_line%%[[:space:]]*}" # what attach-disk --config added
		[ "${#batch}" -lt 60000 ] || run_users
	done
}

run_users() {
	run_batch || die_of_users
}

die_of_users() {
	users_failure=$failure
	end_deletion
	die 'could not find out who uses the volumes' "$users_failure"
}

# find_backing_outside: libvirt tells what a file is backed by if it is a volume, or the disk of a running domain. For
# disks of other domains that are in no active pool, their directory is a transient pool for a moment.
find_backing_outside() {
	outside_rest=$users
	while [ "$outside_rest" ]; do
		outside=${outside_rest%%"$nl"*}
		outside_rest=${outside_rest#*"$nl"}
		outside_rest=${outside_rest#*"$nl"}
		case $outside in
			/dev/shm/*) ;;
			/dev/*) continue ;; # devices
			/*/*) ;;
			*) continue ;;
		esac
		! has_line "$outside_seen$volume_paths" "$outside" || continue
		outside_seen=$outside_seen$outside$nl
		escape "${outside%/*}"
		mark 'users start'
		queue_xml "<pool type='dir'><name>vmp-look-$$</name><target><path>$escaped</path></target></pool>" pool-create
		mark "users volume $outside"
		queue vol-dumpxml "--vol=$outside"
		mark 'users start'
		queue pool-destroy "--pool=vmp-look-$$"
		[ "${#batch}" -lt 60000 ] || run_users
	done
	[ "$batch" ] || return 0
	run_users
	find_backing_outside
}

# read_user: one line of an answer (called by read_line)
read_user() {
	user=${section#users }
	case $section in
		'users pool '*)
			case ${line%%/*} in # of a table: name, blanks, path; no name holds a slash
				*'  ') volume_paths="$volume_paths${section#users pool }$nl/${line#*/}$nl" ;;
			esac
			;;
		'users volume '*)
			case $line in
				*'<backingStore>'*) users_backing=yes ;;
				*'</backingStore>'*) users_backing='' ;;
				*'<path>'*) [ -z "${users_backing-}" ] || add_user '<path>' '</path>' ;;
			esac
			;;
		'users own')
			case $line in
				*"<source file='"*)
					unescape "$line" "<source file='" "'"
					own_disks=$own_disks$unescaped$nl
					;;
			esac
			;;
		'users domain '*)
			case $line in
				*"<source file='"*) add_user "<source file='" "'" ;;
				*"<source dev='"*) add_user "<source dev='" "'" ;;
				*'<kernel>'*) add_user '<kernel>' '</kernel>' ;;
				*'<initrd>'*) add_user '<initrd>' '</initrd>' ;;
				*"<source pool='"*" volume='"*)
					unescape "$line" "<source pool='" "'"
					user_pool=$unescaped
					unescape "$line" " volume='" "'"
					users=$users$user_pool/$unescaped$nl$user$nl
					;;
			esac
			;;
	esac
}

add_user() {
	unescape "$line" "$1" "$2"
	users=$users$unescaped$nl$user$nl
}

# user_of PATH POOL/VOLUME: true when somebody uses it who is not about to go ($going); named in $user
user_of() {
	users_rest=$users
	while [ "$users_rest" ]; do
		users_key=${users_rest%%"$nl"*}
		users_rest=${users_rest#*"$nl"}
		user=${users_rest%%"$nl"*}
		users_rest=${users_rest#*"$nl"}
		[ "$users_key" = "$1" ] || [ "$users_key" = "$2" ] || continue
		case $user in
			volume\ *) ! has_line "${going-}" "${user#volume }" || continue ;;
		esac
		return 0
	done
	return 1
}

# queue_delete_volumes: after find_users (and with the domain gone); queues what may go, overlays before what they are backed by
queue_delete_volumes() {
	candidates='' going='' declared_paths='' number=0 facts=$pool_facts foreign_pools=''
	each_pool note_foreign_pool
	facts=$volume_facts
	each_volume note_candidate
	note_layers
	while [ "$candidates" ]; do
		going_pool=${candidates%%"$nl"*}
		candidates=${candidates#*"$nl"}
		going_name=${candidates%%"$nl"*}
		candidates=${candidates#*"$nl"}
		going_path=${candidates%%"$nl"*}
		candidates=${candidates#*"$nl"}
		if user_of "$going_path" "$going_pool/$going_name"; then
			say "kept volume $going_pool/$going_name: $user uses it"
			continue
		fi
		queue vol-delete "--pool=$going_pool" "--vol=$going_name"
		queue_done "deleted volume $going_pool/$going_name"
		going=$going$going_path$nl
	done
}

note_foreign_pool() {
	own_pool "$1" "$2" || foreign_pools=$foreign_pools$1$nl
}

note_candidate() {
	next_volume
	[ -z "$listed" ] || declared_paths=$declared_paths$listed$nl
	[ "$4" = Delete ] || [ "$delete_all" ] || return 0
	if has_line "$foreign_pools" "$1"; then
		say "kept volume $1/$2: the pool is somebody else's"
	elif [ "$listed" ]; then
		candidates=$1$nl$2$nl$listed$nl$candidates
	elif pool_stopped "$1" && ! declares_pool "$1"; then
		say "kept volume $1/$2, if it is there: pool $1 is not active; start it, and delete again"
	fi
}

# note_layers: an external snapshot puts a layer over a volume, which is then the domain's disk. Of a volume that goes
# it goes too, the uppermost first; of one that stays it stays, as it holds what was written since.
note_layers() {
	layers='' layers_rest=$own_disks
	while [ "$layers_rest" ]; do
		layer=${layers_rest%%"$nl"*}
		layers_rest=${layers_rest#*"$nl"}
		chain='' top=''
		while ! has_line "$declared_paths" "$layer" && ! has_line "$layers" "$layer" && layer_of_ours "$layer"; do
			chain=$chain$layer_pool$nl${layer##*/}$nl$layer$nl
			top=${top:-$layer_pool/${layer##*/}}
			layers=$layers$layer$nl
			layer=$backing
		done
		if [ "$chain" ] && has_line "$declared_paths" "$layer"; then
			if has_line "$candidates" "$layer"; then
				candidates=$chain$candidates
			else
				say "kept volume $top: a snapshot made it, and what was written since is only there;" \
					"merge it into $layer before the next 'make up', which would go on from before the snapshot"
			fi
		fi
	done
}

# layer_of_ours PATH: true when it is a volume (of $layer_pool) that is backed by another ($backing)
layer_of_ours() {
	layer_pool='' backing='' users_rest=$volume_paths
	while [ "$users_rest" ] && [ -z "$layer_pool" ]; do
		users_pool=${users_rest%%"$nl"*}
		users_rest=${users_rest#*"$nl"}
		[ "${users_rest%%"$nl"*}" != "$1" ] || layer_pool=$users_pool
		users_rest=${users_rest#*"$nl"}
	done
	users_rest=$users
	while [ "$users_rest" ] && [ -z "$backing" ]; do
		users_key=${users_rest%%"$nl"*}
		users_rest=${users_rest#*"$nl"}
		[ "${users_rest%%"$nl"*}" != "volume $1" ] || backing=$users_key
		users_rest=${users_rest#*"$nl"}
	done
	[ "$layer_pool" ] && [ "$backing" ]
}

pool_stopped() {
	has_line "$pools" "$1" && ! has_line "$active_pools" "$1"
}

declares_pool() {
	declared='' declared_name=$1
	each_pool match_pool
	[ "$declared" ]
}

match_pool() {
	[ "$1" != "$declared_name" ] || declared=yes
}

# volumes_left POOL: what it will hold, in $left
volumes_left() {
	left='' users_rest=$volume_paths
	while [ "$users_rest" ]; do
		users_pool=${users_rest%%"$nl"*}
		users_rest=${users_rest#*"$nl"}
		users_path=${users_rest%%"$nl"*}
		users_rest=${users_rest#*"$nl"}
		[ "$users_pool" = "$1" ] || continue
		has_line "$going" "$users_path" || left="$left${left:+, }${users_path##*/}"
	done
}

# queue_storage: what our storage is now, and all volumes of the node
queue_storage() {
	users='' volume_paths=''
	facts=$pool_facts
	each_pool queue_bring_up_to_date
	look_storage
	queue_pools
	each_pool queue_vol_list_of_stopped
}

# queue_bring_up_to_date NAME DIRECTORY POLICY: what a pool of ours holds, though somebody else put it there or took it
# away, or undefined the pool under our domain. One without a directory cannot be started, and holds nothing.
queue_bring_up_to_date() {
	own_pool "$1" "$2" || return 0
	mark 'users start'
	if [ -z "$fact" ]; then
		[ "$domain_state" ] || return 0
		[ "$3" = Delete ] || [ "$delete_all" ] || return 0
		queue_define_pool "$1" "$2"
	fi
	if has_line "$active_pools" "$1"; then
		queue pool-refresh "--pool=$1"
	else
		queue pool-start "--pool=$1"
	fi
}

queue_vol_list_of_stopped() {
	has_line "$active_pools" "$1" || queue_vol_list "$1"
}

# delete_storage WHAT…: volumes, pools or both; after observe or begin_deletion. What another run deletes at the same
# time, or a pool that is busy, is no failure: it is looked at again.
delete_storage() {
	storage_tries=0
	until delete_storage_once "$@"; do
		storage_failure=$failure
		storage_tries=$((storage_tries + 1))
		observe
		case $storage_failure in
			*'no storage vol'* | *'no storage pool'* | *'is not active'* | *'Could not retrieve pool information'*) ;;
			*) # a pool must not go while volumes of ours stay in it
				case " $* " in
					*' pool '*) each_pool queue_pool ;;
				esac
				[ -z "$batch" ] || run_batch || :
				case $storage_failure in
					*'asynchronous jobs'* | *'still in use'* | *'still being allocated'*) sleep 1 ;;
					*) storage_tries=11 ;;
				esac
				observe
				;;
		esac
		[ "$storage_tries" -le 10 ] || die 'could not delete everything' "$storage_failure"
	done
}

delete_storage_once() {
	[ "$domain_state" ] || storage_there || return 0
	queue_storage
	run_batch || {
		disturbed && return 1
		die_of_users
	}
	# Likely nobody uses them.
	queue_deletion "$@" 2>/dev/null
	[ -z "$batch" ] || foresee
	find_backing
	end_deletion
	queue_deletion "$@"
	[ -z "$batch" ] || run_batch
}

# queue_deletion WHAT…: what may go, in the order in which it may
queue_deletion() {
	case " $* " in
		*' volume '*) queue_delete_volumes ;;
	esac
	case " $* " in
		*' pool '*)
			facts=$pool_facts
			each_pool queue_delete_pool
			;;
	esac
}

# storage_there: false when there is nothing of ours to delete
storage_there() {
	there='' number=0 facts=$volume_facts
	each_volume note_there_volume
	each_pool note_there_pool
	[ "$there" ]
}

note_there_volume() {
	next_volume
	[ -z "$listed" ] || there=yes
	! pool_stopped "$1" || there=yes
}

note_there_pool() {
	! has_line "$pools" "$1" || there=yes
}
