# Waiting until the guest can be used: an address, then SSH, then cloud-init. There is always a deadline, and always
# a reason when it passes.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

# wait_ready STAGE: ip, ssh or all
wait_ready() {
	check_ssh
	wait_begin=$(date +%s)
	wait_stage=address wait_seen='' wait_said=''
	until find_address; do
		wait_for_running
		wait_seen=$address_reasons
		wait_say 'waiting for an address'
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
		wait_say "waiting for SSH at $address: ${ssh_output:-exit code $ssh_code}"
		wait_again
		wait_address=$address # it may have another one by now
		find_address || {
			wait_for_running
			address=$wait_address
		}
	done
	if [ "$1" = ssh ] || [ -z "$seed_path" ]; then
		say "ready: SSH answers at $address"
		return
	fi
	wait_stage=cloud-init
	until cloud_init_ready; do
		wait_say "waiting for cloud-init: ${ssh_output%%"$nl"*}"
		wait_again
	done
	say "ready at $address"
}

# wait_for_running: without a running domain there is nothing to wait for
wait_for_running() {
	case $address_reasons in
		'the domain does not exist' | 'the domain is shut off')
			die "not ready: $address_reasons" "'make up' makes and starts it"
			;;
	esac
}

# wait_say TEXT: once, until it changes
wait_say() {
	[ "$1" = "$wait_said" ] || say "$1"
	wait_said=$1
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
	if try_ssh 'cd /var/log; tail -n 20 cloud-init-output.log 2>/dev/null || sudo -n tail -n 20 cloud-init-output.log'; then
		say "the end of cloud-init's output in the guest:$nl$ssh_output"
	fi
	ssh_output=$cloud_init_seen
}
