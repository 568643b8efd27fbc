# Waiting until the guest can be used: an address, then SSH, then cloud-init. There is always a deadline, which bounds
# every call of another program too, and always a reason when it passes.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

# wait_ready STAGE: ip, ssh or all
wait_ready() {
	check_ssh
	find_bound
	find_group_bound
	wait_begin=$(date +%s)
	wait_left=$V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS wait_passed=0
	wait_command_secs=$V1ALPHA1_COMMAND_TIMEOUT_SECS
	wait_said='' wait_said_at=0 wait_said_stage='' ssh_answered='' address_answer=''
	wait_stage='an address'
	until wait_find_address; do
		wait_again "$address_reasons"
	done
	[ "$1" != ip ] || {
		say "address $address"
		return
	}
	wait_stage=SSH
	until try_ssh true; do
		wait_for_connection
	done
	if [ "$1" = ssh ] || [ -z "$seed_path" ]; then
		say "ready: SSH answers at $address"
		return
	fi
	wait_stage=cloud-init
	until cloud_init_ready; do
		case $ssh_code in
			255 | 124 | 137 | 143) wait_for_connection ;;
			*) wait_again "${ssh_output:-exit code $ssh_code}" ;;
		esac
	done
	say "ready at $address"
}

# wait_find_address: without a running domain there is nothing to wait for
wait_find_address() {
	bound_wait "$wait_command_secs"
	V1ALPHA1_COMMAND_TIMEOUT_SECS=$wait_bound
	wait_found=yes
	find_address || wait_found=''
	if [ "$V1ALPHA1_SSH_HOST$V1ALPHA1_IP_CMD" ]; then # which say nothing of the domain
		domain_state=''
		mark state
		queue domstate "--domain=$domain_uuid"
		run_batch || :
	fi
	if [ "$ended" ]; then
		case $domain_state in
			'') die 'not ready: the domain does not exist' "'make up' makes and starts it" ;;
			'shut off' | crashed) die "not ready: the domain is $domain_state" "'make up' makes and starts it" ;;
		esac
	fi
	[ "$wait_found" ]
}

# wait_for_connection: SSH does not answer; the guest may have another address by now
wait_for_connection() {
	case $ssh_output in
		*'REMOTE HOST IDENTIFICATION HAS CHANGED'* | *'Host key verification failed'*)
			die "the host key of $address is not the one in known_hosts" "$ssh_output" \
				"if the guest was installed anew, delete known_hosts"
			;;
	esac
	wait_ssh="address $address: ${ssh_output:-exit code $ssh_code of ssh}"
	wait_address=$address
	wait_find_address || address=$wait_address
	[ "$domain_state" != paused ] || wait_ssh="$wait_ssh${nl}the domain is paused; 'make start' resumes it"
	wait_again "$wait_ssh"
}

# wait_again REASON: pauses, or ends when the deadline has passed
wait_again() {
	wait_passed=$(date +%s)
	wait_passed=$((wait_passed - wait_begin))
	wait_left=$((V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS - wait_passed))
	[ "$wait_left" -gt 0 ] || wait_failed "$1"
	wait_say "${1%%"$nl"*}"
	if [ "$V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS" -lt "$wait_left" ]; then
		sleep "$V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS"
	else
		sleep "$wait_left"
	fi
	wait_passed=$(date +%s)
	wait_passed=$((wait_passed - wait_begin))
	wait_left=$((V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS - wait_passed))
}

# wait_say REASON: when the stage begins, when the reason changes (but not every second), and from time to time
wait_say() {
	if [ "$wait_said_stage" = "$wait_stage" ]; then
		[ $((wait_passed - wait_said_at)) -ge 30 ] ||
			{ [ "$1" != "$wait_said" ] && [ $((wait_passed - wait_said_at)) -ge 5 ]; } || return 0
	fi
	wait_said=$1 wait_said_at=$wait_passed wait_said_stage=$wait_stage
	say "waiting for $wait_stage ($wait_passed of $V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS seconds): $1"
}

# bound_wait SECONDS: the smaller of them (0: none) and what is left, in $wait_bound
bound_wait() {
	wait_bound=$wait_left
	[ "$wait_bound" -gt 0 ] || wait_bound=1
	[ "$1" -eq 0 ] || [ "$1" -gt "$wait_bound" ] || wait_bound=$1
}

# wait_failed REASON: with all that may help to find out why
wait_failed() {
	wait_left=4 # for each question of the diagnosis
	set -- "$1"
	[ "$wait_stage" = 'an address' ] || [ -z "$address_answer" ] || set -- "$@" "what is known of its address:" "$(address_report)"
	if [ "$ssh_answered" ] && cloud_init_log; then
		set -- "$@" "the end of cloud-init's output:" "$cloud_init_output"
	fi
	if [ "$ended" ] && [ "$domain_state" ]; then
		console_tail
		set -- "$@" "$console_text"
	fi
	die "not ready after $wait_passed seconds, waiting for: $wait_stage" "$@"
}

# try_ssh COMMAND: its output is in $ssh_output, its exit code in $ssh_code
try_ssh() {
	bound_wait $((V1ALPHA1_WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS + 30))
	ssh_bound=${group_bound:+"$group_bound $wait_bound"}
	ssh_code=0
	if [ "$ssh_password_file" ]; then
		ssh_batch=no
	else
		ssh_batch=yes
	fi
	ssh_output=$(ssh_vm "$address" "$1" -n -o "BatchMode=$ssh_batch" \
		-o "ConnectTimeout=$V1ALPHA1_WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS" \
		-o ServerAliveInterval=5 -o ServerAliveCountMax=3 2>&1) || ssh_code=$?
	! timed_out "$ssh_code" || ssh_output="${ssh_output:+$ssh_output$nl}ssh took longer than $wait_bound seconds and was ended"
	[ "$ssh_code" -ne 0 ] || ssh_answered=yes
	return "$ssh_code"
}

# cloud_init_ready: https://cloudinit.readthedocs.io/en/latest/reference/cli.html#status
# Exit code 2 means done, with errors that it recovered from.
cloud_init_ready() {
	try_ssh 'cloud-init status --long' || :
	case $ssh_code in
		255 | 124 | 137 | 143) return 1 ;; # no connection just now
		126 | 127) die 'cloud-init is not installed in the guest' "$ssh_output" ;;
	esac
	case "$nl$ssh_output" in
		*"${nl}status: running"* | *"${nl}status: not "*) return 1 ;;
		*"${nl}status: disabled"*)
			say 'warning: cloud-init is disabled in the guest: the seed was not used'
			return 0
			;;
		*"${nl}status: error"*) cloud_init_failed 'cloud-init failed in the guest' ;;
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
	cloud_init_failed "cloud-init failed in the guest (exit code $ssh_code)"
}

# cloud_init_failed WHAT
cloud_init_failed() {
	cloud_init_status=$ssh_output
	if cloud_init_log; then
		die "$1" "$cloud_init_status" "the end of cloud-init's output:" "$cloud_init_output"
	fi
	die "$1" "$cloud_init_status"
}

# cloud_init_log: the end of it in $cloud_init_output
cloud_init_log() {
	try_ssh 'cd /var/log; tail -n 20 cloud-init-output.log 2>/dev/null || sudo -n tail -n 20 cloud-init-output.log' || return
	cloud_init_output=$(printf '%s\n' "$ssh_output" | printable)
	[ "$cloud_init_output" ]
}
