# The way to the node. To a remote one, all libvirt connections of a run share one SSH connection: libvirt is told to run
# lib/node-ssh as its ssh (https://libvirt.org/uri.html, `command`). Where the node downloads the image, this library
# itself runs there, on the facts of on-node.sh: it makes the volumes that are filled from the image.
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

# connects_quietly: true where a second connection beside another one asks for no password meanwhile
connects_quietly() {
	case $libvirt_uri in
		*:///*) return 0 ;;
	esac
	[ "$node_ssh_shared" ] && [ -x lib/node-ssh ]
}

# run_on_node COMMAND: by a shell of a remote node, within four seconds, and with no question asked
run_on_node() {
	node_bound="$bound ${bound:+4}"
	node_ssh "$1" -o BatchMode=yes </dev/null
}

# node_ssh COMMAND OPTION…: over the connection that libvirt's are on
node_ssh() {
	node_command=$1
	shift
	set -- "$@" -- "$node_ssh_host" "$node_command"
	[ -z "$node_ssh_keyfile" ] || set -- -i "$node_ssh_keyfile" "$@"
	[ -z "$node_ssh_no_verify" ] || set -- -o StrictHostKeyChecking=no "$@"
	[ -z "$node_ssh_port" ] || set -- -p "$node_ssh_port" "$@"
	[ -z "$node_ssh_user" ] || set -- -l "$node_ssh_user" "$@"
	if [ "$node_ssh_shared" ] && [ -x lib/node-ssh ]; then
		set -- lib/node-ssh "$@"
	else
		set -- "${node_ssh_command:-ssh}" "$@"
	fi
	$node_bound "$@"
}

# tell_node SCRIPT WORD…: by sh on the node, whatever the user's own shell is there; the words are $1 and so on. SCRIPT is one
# line without single quotes, backslashes and exclamation marks, and the words are plain: all shells read that alike.
# It may take as long as it likes, as each command there has its own deadline; a dead connection is found out.
tell_node() {
	node_script=$1
	shift
	set -- "exec sh -c 'unset CDPATH; cache=\"\${XDG_CACHE_HOME:-\$HOME/.cache}/vmp\"; $node_script' sh $*"
	node_bound=''
	if [ "$node_ssh_shared" ] && [ -x lib/node-ssh ]; then # which sees to it
		node_ssh "$1" -T
	else
		node_ssh "$1" -T -o ServerAliveInterval=10 -o ServerAliveCountMax=3
	fi
}

need_for_node() {
	[ "$image_on_node" ] || return 0
	need "reach node $node_name" "${node_ssh_command:-ssh}"
	need "send node $node_name what it is to run" tar
}

# make_volumes_on_node: those that are filled from the image. What is sent there gets no time, for another clock may be
# behind, and no owner (-o), for root would give it to whoever has that number there.
# shellcheck disable=SC2016 # the scripts are for the shell there
make_volumes_on_node() {
	node_take='command -v tar >/dev/null || exit 127; umask 077; mkdir -p "$cache/$1" && cd "$cache/$1"'
	node_take="$node_take && tar -xmof - && mv -f on-node.sh vm.sh || exit 126"
	node_run='export LANG="${LANG:-C.UTF-8}" V1ALPHA1_COMMAND_TIMEOUT_SECS="$2" VMP_PROGRESS="${3-}"'
	node_run="$node_run; exec sh lib/main.sh create/volume </dev/null >&2"
	node_progress=''
	[ ! -t 2 ] || node_progress=yes
	node_code=0
	COPYFILE_DISABLE=1 tar -cf - lib on-node.sh |
		tell_node "$node_take; $node_run" "$domain_uuid" "$V1ALPHA1_COMMAND_TIMEOUT_SECS" "$node_progress" || node_code=$?
	case $node_code in
		0) ;;
		127) die "tar is not installed on node $node_name; it is needed there to take what is to be run" ;;
		255) die "the SSH connection to node $node_name failed, or what ran there was killed" 'if it goes on there, the next run waits for it' ;;
		*) die "node $node_name did not make the volumes of the image (exit code $node_code)" ;;
	esac
	observe
	check_pools
}

# clean_node: what was put there for this VM, its image file too
# shellcheck disable=SC2016 # the script is for the shell there
clean_node() {
	need "reach node $node_name" "${node_ssh_command:-ssh}"
	node_clean='cd "$cache" 2>/dev/null || exit 0; if [ -e "$1/vm.sh" ]; then sh "$1/lib/main.sh" clean-all || exit; fi'
	node_clean="$node_clean"'; rm -rf "$1" || exit; rmdir images 2>/dev/null; cd ..; rmdir vmp 2>/dev/null; exit 0'
	tell_node "$node_clean" "$domain_uuid" </dev/null >&2 ||
		die "could not remove on node $node_name what was put there for this VM (exit code $?)"
}
