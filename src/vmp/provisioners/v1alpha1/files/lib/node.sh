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
