# The way to the node. To a remote one, all libvirt connections of a run share one SSH connection: libvirt is told to run
# lib/node-ssh as its ssh (https://libvirt.org/uri.html, `command`).
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

# find_connection: the URI for virsh and virt-install, in $connection
find_connection() {
	connection=$libvirt_uri
	# A file system may be mounted without the right to run programs.
	[ "$node_ssh_shared" ] && [ -x lib/node-ssh ] || return 0
	connection_ssh=$PWD/lib/node-ssh
	case $connection_ssh in
		*[!A-Za-z0-9/._-]*) connection_ssh=$(printf '%s' "$connection_ssh" | od -A n -v -t x1 | tr -d ' \n' | sed 's/../%&/g') ;;
	esac
	case $libvirt_uri in
		*\?*) connection="$libvirt_uri&command=$connection_ssh" ;;
		*) connection="$libvirt_uri?command=$connection_ssh" ;;
	esac
}

# run_on_node COMMAND: by a shell of a remote node, over the connection that libvirt's are on, within four seconds
run_on_node() {
	set -- -o BatchMode=yes -- "$node_ssh_host" "$1"
	[ -z "$node_ssh_keyfile" ] || set -- -i "$node_ssh_keyfile" "$@"
	[ -z "$node_ssh_no_verify" ] || set -- -o StrictHostKeyChecking=no "$@"
	[ -z "$node_ssh_port" ] || set -- -p "$node_ssh_port" "$@"
	[ -z "$node_ssh_user" ] || set -- -l "$node_ssh_user" "$@"
	if [ "$node_ssh_shared" ] && [ -x lib/node-ssh ]; then
		set -- lib/node-ssh "$@"
	else
		set -- "${node_ssh_command:-ssh}" "$@"
	fi
	$bound ${bound:+4} "$@" </dev/null
}
