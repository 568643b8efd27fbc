# Waiting until the guest can be used: an address, then SSH, then cloud-init. There is always a deadline, and always
# a reason when it passes.

# wait_ready STAGE: ip, ssh or all
wait_ready() {
	check_ssh
	wait_begin=$(date +%s)
	wait_stage=address wait_seen=''
	until find_address; do
		wait_seen=$address_reasons
		wait_again
	done
	[ "$1" != ip ] || {
		say "address $address"
		return
	}
	bound_ssh
	wait_stage=SSH
	until try_ssh true; do
		case $ssh_output in
			*'REMOTE HOST IDENTIFICATION HAS CHANGED'* | *'Host key verification failed'*)
				die "the host key of $address is not the one in known_hosts" "$ssh_output" \
					"if the guest was installed anew, delete known_hosts"
				;;
		esac
		wait_seen="address $address: ${ssh_output:-exit code $ssh_code}"
		wait_again
		! find_address || continue # it may have another address by now
	done
	[ "$1" != ssh ] && [ "$seed_path" ] || {
		say "ready: SSH answers at $address"
		return
	}
	wait_stage=cloud-init
	until cloud_init_ready; do
		wait_again
	done
	say "ready at $address"
}

wait_again() {
	wait_now=$(date +%s)
	if [ $((wait_now - wait_begin + V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS)) -gt "$V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS" ]; then
		[ "$wait_stage" != cloud-init ] || cloud_init_log
		die "not ready after $((wait_now - wait_begin)) seconds, waiting for: $wait_stage" "$wait_seen"
	fi
	sleep "$V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS"
}

# bound_ssh: no call of ssh lasts for ever, where timeout(1) is there
bound_ssh() {
	ssh_bound=''
	wait_bound=$((V1ALPHA1_WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS + 30))
	if timeout --foreground 1 true 2>/dev/null; then
		ssh_bound="timeout --foreground $wait_bound"
	elif timeout 1 true 2>/dev/null; then
		ssh_bound="timeout $wait_bound"
	fi
}

# try_ssh COMMAND: its output is in $ssh_output, its exit code in $ssh_code
try_ssh() {
	ssh_code=0
	if [ "$ssh_password_file" ]; then
		ssh_batch=no
	else
		ssh_batch=yes
	fi
	ssh_output=$(ssh_vm "$address" "$1" -n -o "BatchMode=$ssh_batch" \
		-o "ConnectTimeout=$V1ALPHA1_WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS" \
		-o ServerAliveInterval=5 -o ServerAliveCountMax=3 2>&1) || ssh_code=$?
	return "$ssh_code"
}

# cloud_init_ready: https://cloudinit.readthedocs.io/en/latest/reference/cli.html#status
# Exit code 2 means done, with errors that it recovered from.
cloud_init_ready() {
	try_ssh 'cloud-init status --long' || :
	wait_seen="cloud-init status: ${ssh_output:-exit code $ssh_code}"
	case $ssh_code in
		255 | 124 | 143) return 1 ;; # no connection just now
		126 | 127) die 'cloud-init is not installed in the guest' "$ssh_output" ;;
	esac
	case "$nl$ssh_output" in
		*"${nl}status: running"* | *"${nl}status: not "*) return 1 ;;
		*"${nl}status: disabled"*)
			say 'warning: cloud-init is disabled in the guest: the seed was not used'
			return 0
			;;
		*"${nl}status: error"*)
			cloud_init_log
			die 'cloud-init failed in the guest' "$ssh_output"
			;;
	esac
	case $ssh_code in
		0) case $ssh_output in
			*status:*) return 0 ;;
			*) return 1 ;;
		esac ;;
		2)
			say "warning: cloud-init is done, but had to recover from errors:$nl$ssh_output"
			return 0
			;;
	esac
	cloud_init_log
	die "cloud-init failed in the guest (exit code $ssh_code)" "$ssh_output"
}

cloud_init_log() {
	cloud_init_seen=$ssh_output
	if try_ssh 'f=/var/log/cloud-init-output.log; tail -n 20 "$f" 2>/dev/null || sudo -n tail -n 20 "$f"'; then
		say "the end of cloud-init's output in the guest:$nl$ssh_output"
	fi
	ssh_output=$cloud_init_seen
}
