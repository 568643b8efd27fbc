# SSH to the guest, by OpenSSH alone. The first value of an option wins in ssh, so: V1ALPHA1_SSH_EXTRA_OPTS, then
# V1ALPHA1_SSH_OPTS or else the registry's options, then the defaults below.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

check_ssh() {
	[ "$ssh_enabled" ] || die 'the registry has no ssh: for this VM'
	need 'reach the VM' ssh
}

# ssh_vm ADDRESS COMMAND [OPTION…]: with COMMAND '' a shell; an OPTION comes before all others
ssh_vm() {
	ssh_address=$1 ssh_command=$2
	shift 2
	set -f
	# shellcheck disable=SC2086 # the knobs are split at white space, and nothing else happens to them
	set -- ssh "$@" $V1ALPHA1_SSH_EXTRA_OPTS
	if [ "$V1ALPHA1_SSH_OPTS" ]; then
		# shellcheck disable=SC2086
		set -- "$@" $V1ALPHA1_SSH_OPTS
		set +f
		ssh_with_defaults "$@"
	else
		set +f
		ssh_options ssh_with_defaults "$@"
	fi
}

ssh_with_defaults() {
	set -- "$@" -o UserKnownHostsFile=known_hosts -o StrictHostKeyChecking=accept-new \
		-o "HostKeyAlias=$domain_uuid" -o CheckHostIP=no -o LogLevel=ERROR
	if [ "$node_ssh_jump" ] && [ "$node_ssh_keyfile" ]; then
		ssh_percent "$node_ssh_keyfile" # once for this ssh, once for the one that it runs
		ssh_percent "$ssh_percent"
		quote "IdentityFile=\"$ssh_percent\""
		ssh_keyfile=$quoted
		ssh_percent "$node_ssh_jump"
		quote "$ssh_percent"
		set -- "$@" -o "ProxyCommand=ssh -o $ssh_keyfile -W '[%h]:%p' -- $quoted"
	elif [ "$node_ssh_jump" ]; then
		set -- "$@" -o "ProxyJump=$node_ssh_jump"
	fi
	[ -z "$V1ALPHA1_SSH_USER" ] || set -- "$@" -l "$V1ALPHA1_SSH_USER"
	if [ "$ssh_password_file" ]; then
		SSH_ASKPASS=./lib/askpass SSH_ASKPASS_REQUIRE=force
		VMP_ASKPASS_FILE=$ssh_password_file
		VMP_ASKPASS_FOR=$("$@" -G -- "$ssh_address" | awk '
			$1 == "user" { user = $2 } $1 == "hostname" { host = $2 } $1 == "hostkeyalias" { alias = $2 }
			END { print user "@" (alias != "" ? alias : host) }')
		export SSH_ASKPASS SSH_ASKPASS_REQUIRE VMP_ASKPASS_FILE VMP_ASKPASS_FOR
		set -- "$@" -o NumberOfPasswordPrompts=1
	fi
	set -- "$@" -- "$ssh_address"
	[ -z "$ssh_command" ] || set -- "$@" "$ssh_command"
	${ssh_bound-} "$@"
}

# ssh_percent TEXT: with its percent signs doubled, in $ssh_percent
ssh_percent() {
	ssh_percent='' ssh_rest=$1
	while :; do
		case $ssh_rest in
			*%*)
				ssh_percent="$ssh_percent${ssh_rest%%\%*}%%"
				ssh_rest=${ssh_rest#*%}
				;;
			*) break ;;
		esac
	done
	ssh_percent=$ssh_percent$ssh_rest
}
