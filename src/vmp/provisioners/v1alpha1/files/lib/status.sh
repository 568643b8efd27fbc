# What there is, at a glance.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

status() {
	look
	mark status
	status_answer=''
	queue dominfo "--domain=$domain_uuid"
	run_batch || :
	[ "$ended" ] || die 'libvirt did not answer as it should' "$failure"
	status_more=''
	case $status_answer in
		*'Managed save:   yes'*) status_more=', saved' ;;
	esac
	case $status_answer in
		*'Persistent:     no'*) status_more="$status_more, transient" ;;
	esac
	status_row domain "$domain_name" "${domain_state:-not there}$status_more"
	each_pool status_pool
	each_used_pool status_used pool "$pools" "$active_pools"
	each_used_network status_used network "$networks" "$active_networks"
	number=0 facts=$volume_facts
	each_volume status_volume
	[ "$domain_state" = running ] || {
		check_owner
		tell_stale
		return 1
	}
	if find_address; then
		status_row address "$address" ''
	else
		status_row address '-' "not known"
	fi
	tell_stale
}

# status_row KIND NAME STATE
status_row() {
	printf '%-8s %-40s %s\n' "$1" "$2" "$3"
}

status_pool() {
	status_used pool "$pools" "$active_pools" "$1"
}

status_used() {
	if has_line "$3" "$4"; then
		status_row "$1" "$4" active
	elif has_line "$2" "$4"; then
		status_row "$1" "$4" 'not active'
	else
		status_row "$1" "$4" 'not there'
	fi
}

status_volume() {
	next_volume
	if [ "$path" ]; then
		status_row volume "$1/$2" "$((physical / 1048576)) MiB in $path"
	elif has_line "$active_pools" "$1"; then
		status_row volume "$1/$2" 'not there'
	else
		status_row volume "$1/$2" 'not known'
	fi
}
