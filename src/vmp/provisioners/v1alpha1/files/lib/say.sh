# What is said to the user, and small things that have no other place.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

file_sizes=$nl # lines of name, blank, slash, bytes

say() {
	printf '%s: %s\n' "$vm_name" "$*" >&2
}

die() {
	say "error: $1"
	shift
	for hint; do
		printf '%s\n' "$hint" | sed 's/^/  /' >&2
	done
	exit 1
}

die_of_disk() {
	die 'cannot write into the directory of this VM' "see whether its disk is full: df $PWD"
}

# has_line TEXT LINE: true when LINE is one of the lines of TEXT
has_line() {
	case "$nl$1$nl" in
		*"$nl$2$nl"*) return 0 ;;
	esac
	return 1
}

# size FILE: its size in bytes, in $size
size() {
	size=$(wc -c <"$1") || die "cannot read $1"
	size=$((size))
}

# file_size FILE: the same, once in a run: for files that do not change meanwhile
file_size() {
	case $file_sizes in
		*"$nl$1 /"*)
			size=${file_sizes#*"$nl$1 /"}
			size=${size%%"$nl"*}
			;;
		*)
			size "$1"
			file_sizes=$file_sizes$1\ /$size$nl
			;;
	esac
}

# check_knobs: and the values of those that nobody has set
check_knobs() {
	: "${V1ALPHA1_COMMAND_TIMEOUT_SECS:=600}" "${V1ALPHA1_STOP_TIMEOUT_SECS:=60}"
	: "${V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS:=600}"
	: "${V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS:=3}" "${V1ALPHA1_WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS:=3}"
	for knob in "COMMAND_TIMEOUT_SECS=$V1ALPHA1_COMMAND_TIMEOUT_SECS" \
		"STOP_TIMEOUT_SECS=$V1ALPHA1_STOP_TIMEOUT_SECS" \
		"WAIT_FOR_READY_TIMEOUT_SECS=$V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS" \
		"WAIT_FOR_READY_INTERVAL_SECS=$V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS" \
		"WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS=$V1ALPHA1_WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS"; do
		case ${knob#*=} in
			'' | *[!0-9]* | 0?* | ?????????*) die "V1ALPHA1_${knob%%=*} is '${knob#*=}', not a whole number of seconds" ;;
		esac
	done
}
