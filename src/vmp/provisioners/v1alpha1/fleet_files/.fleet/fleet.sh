# The entry: `sh .fleet/fleet.sh TARGET MAKE…`. Finds out how the VMs are (nodes.sh), and leaves what has to be done to
# their makefiles. It knows of a VM what its directory says.
# shellcheck shell=sh disable=SC2034,SC2154,SC1091 # variables are shared with lib/ and vm.sh of the VMs

set -euf
umask 077
unset CDPATH
case $0 in
	*/*) cd -- "${0%/*}/.." ;;
	*) cd .. ;;
esac

nl='
'
tab='	'
fleet_base=$PWD
fleet_timeout=${V1ALPHA1_COMMAND_TIMEOUT_SECS-}
fleet_failed=''

. .fleet/vms.sh
. .fleet/nodes.sh

# complain TEXT [HINT…]
complain() {
	printf '%s\n' "error: $1" >&2
	shift
	for hint; do
		printf '  %s\n' "$hint" >&2
	done
	fleet_failed=yes
}

# select_vms: the numbers of the VMs that VMS names, in $fleet_selected
select_vms() {
	fleet_selected=' '
	[ "${VMS+set}" ] || return 0
	for pattern in $VMS; do
		fleet_number=0 fleet_matched=''
		each_vm select_matching "$pattern"
		[ "$fleet_matched" ] || complain "VMS: there is no VM '$pattern' here" "'make list' lists them"
	done
	[ "$fleet_selected" != ' ' ] || [ "$fleet_failed" ] || complain 'VMS is empty' 'leave it out for all VMs'
	[ -z "$fleet_failed" ] || exit 1
}

# select_matching PATTERN NAME: by its name as it is written, or as a pattern
select_matching() {
	fleet_number=$((fleet_number + 1))
	if [ "$1" != "$2" ]; then
		# shellcheck disable=SC2254 # it is a pattern
		case $2 in
			$1) ;;
			*) return 0 ;;
		esac
	fi
	fleet_matched=yes
	case $fleet_selected in
		*" $fleet_number "*) ;;
		*) fleet_selected="$fleet_selected$fleet_number " ;;
	esac
}

# count_selected: true when the next VM of each_vm is among those wanted
count_selected() {
	fleet_number=$((fleet_number + 1))
	[ "${VMS+set}" ] || return 0
	case $fleet_selected in
		*" $fleet_number "*) return 0 ;;
	esac
	return 1
}

# each_answer FUNCTION: calls it with the five words of each answer
each_answer() {
	for_each=$1
	IFS=$nl
	for line in $fleet_answers; do
		IFS=$tab
		# shellcheck disable=SC2086 # they are words
		set -- $line
		unset IFS
		"$for_each" "$@"
	done
	unset IFS
}

up() {
	read_vms
	ask
	goals=''
	each_answer add_up
}

add_up() {
	case $2,$3 in
		current,running) printf '%s: is running\n' "$5" >&2 ;;
		unknown,*) fleet_failed=yes ;; # its node did not answer, and that was said
		*) goals="$goals up/$1" ;;
	esac
}

down() {
	goals='' fleet_number=0
	each_vm add_down
}

add_down() {
	! count_selected || goals="$goals down/$fleet_number"
}

# run_goals MAKE…: in the makefiles of the VMs, in place of this shell: a signal to it reaches them
run_goals() {
	[ -z "$fleet_failed" ] || goals="$goals failed"
	[ "$fleet_target" = down ] || begin_alike
	# shellcheck disable=SC2086 # they are words
	[ -z "$goals" ] || exec "$@" --no-print-directory -f .fleet/vms.mk $goals
}

# begin_alike: VMs that are alike take virt-install's answer from each other (lib/alike.sh)
begin_alike() {
	VMP_ALIKE=''
	case $goals in
		*' up/'*' up/'*' up/'*) ;; # two have to ask
		*) return 0 ;;
	esac
	mkdir ".fleet/alike.$$.tmp" 2>/dev/null || return 0
	VMP_ALIKE=$fleet_base/.fleet/alike.$$.tmp
	export VMP_ALIKE
	goals="$goals tidy"
}

status() {
	read_vms
	ask
	name_width=0 node_width=0
	each_answer measure
	each_answer print_row
	[ -z "$fleet_failed" ]
}

measure() {
	[ "${#5}" -le "$name_width" ] || name_width=${#5}
	[ "${#4}" -le "$node_width" ] || node_width=${#4}
}

print_row() {
	[ "$3" = running ] || fleet_failed=yes
	printf "%-${name_width}s  %-${node_width}s  %s\n" "$5" "$4" "$3"
}

# one TARGET/NUMBER MAKE…: a target of one VM
one() {
	one_target=${1%/*} one_number=${1#*/}
	shift
	fleet_number=0 one_name=''
	each_vm find_one
	name_make "$one_name"
	exec "$@" -C "./$one_name" "$one_target"
}

# name_make NAME: how hints are to call the make of that VM
name_make() {
	case $1 in
		*[!A-Za-z0-9._-]*) VMP_MAKE="make -C '$1'" ;;
		*) VMP_MAKE="make -C $1" ;;
	esac
	export VMP_MAKE
}

find_one() {
	fleet_number=$((fleet_number + 1))
	[ "$fleet_number" -ne "$one_number" ] || one_name=$1
}

list() {
	fleet_number=0
	each_vm list_one
}

list_one() {
	! count_selected || printf '%s\n' "$1"
}

help() {
	cat <<-'EOF_HELP'
		All VMs of this directory, or those in VMS.

		make up                  make and start what is not running; asks each node once
		make down                stop them, delete all but what is to be retained, clean
		make status              one line for each VM; an error unless all are running
		make list                their names

		make -j8 up              eight VMs at a time; -k goes on with the others after one that failed
		make up VMS="web db"     these two
		make up VMS='web-*'      those whose names match; in a name with spaces, ? stands for one

		Knobs are those of the VMs, as in make down V1ALPHA1_STOP_TIMEOUT_SECS=10 ('make -C VM help' lists them).
		More can be done with one VM: make -C VM help
	EOF_HELP
}

fleet_target=${1-help}
[ $# -eq 0 ] || shift
case $fleet_target in
	help) help ;;
	one) one "$@" ;;
	list)
		select_vms
		list
		;;
	up | down)
		select_vms
		"$fleet_target"
		run_goals "$@"
		;;
	status)
		select_vms
		status
		;;
	*)
		complain "there is no target '$fleet_target'; 'make help' lists them"
		exit 2
		;;
esac
