# Storage pools that this VM declares, and the pools and networks of others that it uses.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

# plain PATH: without doubled or trailing slashes, as libvirt keeps it, in $plain
plain() {
	plain=$1
	while :; do
		case $plain in
			*//*) plain=${plain%%//*}/${plain#*//} ;;
			?*/) plain=${plain%/} ;;
			*) return ;;
		esac
	done
}

# own_pool NAME DIRECTORY: false when the pool of that name has another directory; uses the next of $facts
own_pool() {
	next_fact
	plain "$2"
	[ -z "$fact" ] || [ "$fact" = "$plain" ]
}

check_pools() {
	facts=$pool_facts
	each_pool check_pool
}

check_pool() {
	own_pool "$1" "$2" || die "pool '$1' is somebody else's: its directory is $fact, not $2" \
		"give this VM's pool another name, or the same directory"
}

# check_used: what is used but not declared must be there; it is never made, started or changed
# (check_used_object ALL ACTIVE KIND NAME)
check_used() {
	each_used_pool check_used_object "$pools" "$active_pools" pool
	each_used_network check_used_object "$networks" "$active_networks" network
}

check_used_object() {
	! has_line "$2" "$4" || return 0
	shell_quote "$libvirt_uri"
	used_uri=$shell_quoted
	shell_quote "$4"
	case $3 in
		pool) used_start="virsh -c $used_uri pool-start $shell_quoted" ;;
		*) used_start="virsh -c $used_uri net-start $shell_quoted" ;;
	esac
	if has_line "$1" "$4"; then
		die "$3 '$4' is not active on $libvirt_uri" "start it: $used_start"
	fi
	case $3 in
		pool) used_define="virsh -c $used_uri pool-define-as $shell_quoted dir --target DIRECTORY" ;;
		*) used_define="virsh -c $used_uri net-define FILE.xml" ;;
	esac
	die "there is no $3 '$4' on $libvirt_uri" "make it: $used_define" "then start it: $used_start"
}

# shell_quote TEXT: as one word for a person to paste, in $shell_quoted
shell_quote() {
	case $1 in
		*[!A-Za-z0-9_@%+:,./-]* | '')
			quote "$1"
			shell_quoted=$quoted
			;;
		*) shell_quoted=$1 ;;
	esac
}

# pools_stopped: true when a declared pool is defined but not active
pools_stopped() {
	stopped=''
	each_pool note_stopped
	[ "$stopped" ]
}

note_stopped() {
	! has_line "$pools" "$1" || has_line "$active_pools" "$1" || stopped=yes
}

# queue_pool NAME DIRECTORY POLICY: what is missing of it
queue_pool() {
	! has_line "$active_pools" "$1" || return 0
	if ! has_line "$pools" "$1"; then
		queue_define_pool "$1" "$2"
		pool_verb='created'
	else
		pool_verb='started'
	fi
	queue pool-build "--pool=$1"
	queue pool-start "--pool=$1"
	queue_done "$pool_verb pool $1"
}

queue_define_pool() {
	escape "$1"
	pool_xml="<pool type='dir'><name>$escaped</name>"
	escape "$2"
	queue_xml "$pool_xml<target><path>$escaped</path></target></pool>" pool-define
}

create_pools() {
	each_pool queue_pool
	[ "$batch" ] || return 0
	look
	run_batch || {
		pools_failure=$failure
		observe # another run may have been faster
		pools_missing=''
		each_pool note_missing_pool
		[ -z "$pools_missing" ] || die "could not make pool$pools_missing" "$pools_failure"
	}
	check_pools
}

note_missing_pool() {
	has_line "$active_pools" "$1" || pools_missing="$pools_missing $1"
}

stop_pools() {
	facts=$pool_facts
	each_pool queue_stop_pool
	[ "$batch" ] || return 0
	run_batch || die 'could not stop a pool' "$failure"
}

queue_stop_pool() {
	own_pool "$1" "$2" || {
		say "left pool $1 alone: its directory is $fact, not $2"
		return 0
	}
	has_line "$active_pools" "$1" || return 0
	queue pool-destroy "--pool=$1"
	queue_done "stopped pool $1"
}

# queue_delete_pool NAME DIRECTORY POLICY: when it is ours, meant to go, and holds no volume
queue_delete_pool() {
	own_pool "$1" "$2" || {
		say "kept pool $1: its directory is $fact, not $2"
		return 0
	}
	has_line "$pools" "$1" || return 0
	[ "$3" = Delete ] || [ "$delete_all" ] || return 0
	volumes_left "$1"
	if [ "$left" ]; then
		say "kept pool $1: it holds $left"
		return 0
	fi
	! has_line "$active_pools" "$1" || queue pool-destroy "--pool=$1"
	mark "kept the directory of pool $1"
	queue pool-delete "--pool=$1"
	mark next
	queue pool-undefine "--pool=$1"
	queue_done "deleted pool $1"
}
