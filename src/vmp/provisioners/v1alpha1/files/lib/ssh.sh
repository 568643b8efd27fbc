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
	node_jump
	[ -z "$node_jump" ] || set -- "$@" -o "$node_jump"
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

# node_jump: the option by which ssh goes through a remote node, in $node_jump: a ProxyJump, or where libvirt's URI has
# parameters for ssh a ProxyCommand that does the same with them
node_jump() {
	node_jump=''
	[ "$node_ssh_host" ] || return 0
	if [ -z "$node_ssh_command$node_ssh_keyfile$node_ssh_no_verify" ]; then
		case $node_ssh_host in
			*:*) node_jump="[$node_ssh_host]" ;;
			*) node_jump=$node_ssh_host ;;
		esac
		ssh_percent "${node_ssh_user:+$node_ssh_user@}$node_jump${node_ssh_port:+:$node_ssh_port}"
		node_jump="ProxyJump=$ssh_percent"
		return
	fi
	node_jump=ProxyCommand=
	add_jump_word "${node_ssh_command:-ssh}"
	[ -z "$node_ssh_user" ] || add_jump_word -l "$node_ssh_user"
	[ -z "$node_ssh_port" ] || add_jump_word -p "$node_ssh_port"
	[ -z "$node_ssh_no_verify" ] || add_jump_word -o StrictHostKeyChecking=no
	if [ "$node_ssh_keyfile" ]; then
		ssh_percent "$node_ssh_keyfile" # the ssh that is run expands it once more
		add_jump_word -i "$ssh_percent"
	fi
	node_jump="$node_jump-W '[%h]:%p' "
	add_jump_word -- "$node_ssh_host"
}

# add_jump_word WORD…: for the shell that ssh gives a ProxyCommand to
add_jump_word() {
	for jump_word; do
		ssh_percent "$jump_word"
		quote "$ssh_percent"
		node_jump="$node_jump$quoted "
	done
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
