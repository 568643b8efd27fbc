# How the VMs are: each node is asked once for the state of all its VMs, all nodes at the same time.
# Long texts are only split at their ends of lines and searched by `case`: to cut a piece out of them, sh takes ages.
# shellcheck shell=sh disable=SC2034,SC2154,SC2164,SC1091 # fleet.sh reads this file; it ends at the first error

# read_vms: six lines for each VM in $fleet_records, and the marks that their domains should have in $fleet_marks
read_vms() {
	fleet_number=0 fleet_records='' fleet_uris='' fleet_files='' fleet_library=''
	trap remove_files EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	each_vm read_vm
	sum_up
	trap - EXIT HUP INT TERM
}

read_vm() {
	count_selected || return 0
	[ -r "./$1/vm.sh" ] || {
		complain "there is no '$1/vm.sh'" "'vmp gen' writes it"
		return 0
	}
	cd "./$1"
	. ./vm.sh
	[ "$fleet_library" ] || load_library
	fleet_records=$fleet_records$fleet_number$nl$1$nl$node_name$nl$libvirt_uri$nl$domain_uuid$nl$domain_name$nl
	case $nl$fleet_uris in
		*"$nl$libvirt_uri$nl"*) ;;
		*) fleet_uris=$fleet_uris$libvirt_uri$nl ;;
	esac
	if [ -z "$secrets_file" ] || [ -r "$secrets_file" ]; then # where it is not, the VM's own make says so
		fleet_file=.fleet/$fleet_number.$$.tmp
		# Where nothing can be written, each VM is looked at for itself.
		{ print_definition >"$fleet_base/$fleet_file"; } 2>/dev/null || :
		fleet_files=$fleet_files$fleet_file$nl
		[ -z "$seed_path" ] || for document in meta-data user-data vendor-data network-config; do
			[ ! -e "$seed_path.d/$document" ] || fleet_files=$fleet_files./$1/$seed_path.d/$document$nl
		done
	fi
	cd "$fleet_base"
}

# load_library: that of the first VM, for all
load_library() {
	fleet_library=yes
	. lib/say.sh
	. lib/command.sh
	. lib/node.sh
	. lib/libvirt.sh
	. lib/virsh.sh
	. lib/seed.sh
	. lib/definition.sh
	. lib/domain.sh
	need 'talk to libvirt' virsh
	find_bound
}

# sum_up: all marks, as `definition` of the library finds them, but with one cksum for all VMs. Where one is not what it
# should be, the make of that VM is run, and judges by itself.
sum_up() {
	fleet_marks=$nl fleet_summed=''
	[ "$fleet_files" ] || return 0
	IFS=$nl
	# shellcheck disable=SC2086 # they are lines
	fleet_sums=$(cksum $fleet_files) || fleet_sums=''
	remove_files
	for fleet_sum in $fleet_sums; do
		fleet_path=${fleet_sum#* }
		fleet_sum=${fleet_sum%% *}-${fleet_path%% *}
		fleet_sum=${fleet_sum#\\}
		fleet_path=${fleet_path#* }
		case $fleet_path in
			.fleet/*)
				note_marks
				fleet_summed=${fleet_path#.fleet/}
				fleet_summed=${fleet_summed%%.*} definition=$fleet_sum seed=''
				;;
			*)
				document=${fleet_path##*/}
				seed="$seed${seed:+.}${document%%-*}-$fleet_sum"
				;;
		esac
	done
	note_marks
	unset IFS
}

note_marks() {
	[ -z "$fleet_summed" ] || fleet_marks="$fleet_marks$fleet_summed<provisioner definition=\"$definition\" seed=\"$seed\"/$nl"
}

# remove_files: our own, and those of runs that were killed
remove_files() {
	set --
	set +f
	for fleet_file in "$fleet_base"/.fleet/[0-9]*.[0-9]*.tmp "$fleet_base"/.fleet/alike.[0-9]*.tmp; do
		fleet_pid=${fleet_file%.tmp}
		fleet_pid=${fleet_pid##*.}
		if [ -e "$fleet_file" ] && { [ "$fleet_pid" = "$$" ] || ! kill -0 "$fleet_pid" 2>/dev/null; }; then
			set -- "$@" "$fleet_file"
		fi
	done
	set -f
	[ $# -eq 0 ] || rm -rf "$@" 2>/dev/null || : # another user's stay
}

# ask: one line for each VM in $fleet_answers: number, verdict, state, node, name, with tabs between them
ask() {
	IFS=$nl
	# shellcheck disable=SC2086 # they are lines
	set -- $fleet_uris
	unset IFS
	case $# in
		0) fleet_answers='' ;;
		1) fleet_answers=$(ask_nodes "$@" 3>&1 >/dev/null) ;;
		*) fleet_answers=$(ask_nodes "$@" 3>&1 >/dev/null | sort -n) ;;
	esac
}

# ask_nodes URI…: at the same time. A pipeline, as Ctrl+C reaches all of it.
ask_nodes() {
	node_uri=$1
	shift
	if [ $# -eq 0 ]; then
		ask_or_give_up </dev/null
	else
		ask_or_give_up </dev/null | ask_nodes "$@"
	fi
}

ask_or_give_up() {
	(ask_node) || each_record give_up
}

give_up() {
	tell "$1" unknown 'not known' "$3" "$2"
}

# tell NUMBER VERDICT STATE NODE NAME: a line of the answer
tell() {
	printf '%s\n' "$1$tab$2$tab$3$tab$4$tab$5" >&3
}

# ask_node: that at $node_uri
ask_node() {
	LC_CTYPE=${LC_ALL:-${LC_CTYPE:-${LANG:-C}}}
	unset LC_ALL LANGUAGE VIRSH_DEFAULT_CONNECT_URI
	LC_MESSAGES=C LC_NUMERIC=C LC_COLLATE=C
	export LC_CTYPE LC_MESSAGES LC_NUMERIC LC_COLLATE
	domains='' status_answer='' domain_mark=''
	each_record enter_node
	mark domains
	queue list --all --uuid --name
	mark status
	for state in running paused shutoff other; do
		queue echo "$state$nl"
		queue list --all --uuid "--state-$state"
	done
	mark mark
	each_record queue_mark
	ask_libvirt_all
	read_domains
	read_states
	read_marks
	each_record answer
}

# each_record FUNCTION: calls it for each VM of this node, with the six lines of its record
each_record() {
	for_each=$1
	IFS=$nl
	# shellcheck disable=SC2086 # they are lines
	set -- $fleet_records
	unset IFS
	while [ $# -gt 0 ]; do
		[ "$4" != "$node_uri" ] || "$for_each" "$1" "$2" "$3" "$4" "$5" "$6"
		shift 6
	done
}

# enter_node: the first VM of a node is asked from its directory, where an SSH connection is shared
enter_node() {
	[ "$PWD" = "$fleet_base" ] || return 0
	unset V1ALPHA1_COMMAND_TIMEOUT_SECS
	[ -z "$fleet_timeout" ] || V1ALPHA1_COMMAND_TIMEOUT_SECS=$fleet_timeout
	cd "./$2"
	. ./vm.sh
	vm_name="node $node_name"
	check_knobs
	find_connection
}

# ask_libvirt_all: what is queued
ask_libvirt_all() {
	run_batch || die 'libvirt did not answer as it should' "$failure"
}

# The number of the VM, and behind it the mark. One argument of virsh may have 128 KiB.
queue_mark() {
	[ "${#batch}" -lt 100000 ] || {
		ask_libvirt_all
		mark mark
	}
	queue echo "@$1$nl"
	queue metadata "--domain=$5" --uri=urn:vmp:v1alpha1
}

# read_domains: lines of UUID and name in $node_domains, of names in $node_names
read_domains() {
	node_domains=$nl node_names=$nl
	IFS=$nl
	for line in $domains; do
		line=${line%"${line##*[! ]}"}
		node_domains=$node_domains$line$nl
		node_names=$node_names${line#* }$nl
	done
	unset IFS
}

# read_states: the UUIDs of the domains in each state
read_states() {
	node_running=$nl node_paused=$nl node_shut_off=$nl node_other=$nl
	IFS=$nl
	for line in $status_answer; do
		uuid=${line%% *}
		case $line,$state in
			running,* | paused,* | shutoff,* | other,*) state=$line ;;
			*,running) node_running=$node_running$uuid$nl ;;
			*,paused) node_paused=$node_paused$uuid$nl ;;
			*,shutoff) node_shut_off=$node_shut_off$uuid$nl ;;
			*) node_other=$node_other$uuid$nl ;;
		esac
	done
	unset IFS
}

# read_marks: the numbers of VMs whose domain has the mark that it should have, in $node_current
read_marks() {
	node_current=' '
	IFS='>'
	for line in $domain_mark; do
		line=${line##*@}
		case $fleet_marks in
			*"$nl$line$nl"*) node_current="$node_current${line%%<*} " ;;
		esac
	done
	unset IFS
}

# answer: about one VM. The verdict is `current` where its domain has the mark and the name that the directory says.
answer() {
	verdict=differs
	if has_line "$node_running" "$5"; then
		state=running
	elif has_line "$node_shut_off" "$5"; then
		state='shut off'
	elif has_line "$node_paused" "$5"; then
		state=paused
	elif has_line "$node_other" "$5"; then
		ask_state "$5"
	else
		verdict=missing state='not there'
		! has_line "$node_names" "$6" || state='another domain of that name'
	fi
	case $verdict$node_domains in
		differs*"$nl$5 $6$nl"*)
			case $node_current in
				*" $1 "*) verdict=current ;;
			esac
			;;
	esac
	tell "$1" "$verdict" "$state" "$3" "$2"
	[ "$fleet_target$verdict" != statusdiffers ] || (explain "$1" "$2") || :
}

# ask_state UUID: one of the states that are rare
ask_state() {
	status_answer=''
	mark status
	queue domstate "--domain=$1"
	run_batch || say "error: $failure"
	state=${status_answer%%"$nl"*}
	state=${state:-not known}
}

# explain NUMBER NAME: what is wrong with a domain, in the words of the VM's own targets
explain() {
	found_mark=''
	IFS='>'
	for line in $domain_mark; do
		line=${line##*@}
		case $line in
			"$1<"*) found_mark=$line ;;
		esac
	done
	unset IFS
	domain_state=$state domain_mark=$found_mark definition='' seed=''
	name_make "$2"
	cd "$fleet_base/$2"
	. ./vm.sh
	check_owner
	tell_stale
}
