# Other programs: whether they are installed, and how long they may take.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

# have COMMAND…: true when one of them is installed; its name is then in $found
have() {
	for found; do
		! command -v "$found" >/dev/null 2>&1 || return 0
	done
	found=''
	return 1
}

# need WHAT-FOR COMMAND…: one of them must be installed
need() {
	need_for=$1
	shift
	have "$@" && return
	need_list=$1
	shift
	for found; do
		need_list="$need_list or $found"
	done
	die "$need_list is not installed; it is needed to $need_for"
}

# find_bound: how a command is bounded here, in $bound. Not in a process group of its own: that could not ask for a
# password on the terminal. (busybox has no --foreground, and needs none.)
find_bound() {
	[ -z "${bound+set}" ] || return 0
	bound=''
	if timeout --foreground -k 5 1 true 2>/dev/null; then
		bound='timeout --foreground -k 5'
	elif timeout -k 5 1 true 2>/dev/null; then
		bound='timeout -k 5'
	fi
}

# bound_of BYTES: the bound of a command that reads or writes so much, in $bound_seconds: the knob's seconds, and as many
# again for each 64 MiB
bound_of() {
	bound_seconds=$((V1ALPHA1_COMMAND_TIMEOUT_SECS * (1 + $1 / 67108864)))
}

# bounded SECONDS COMMAND…: COMMAND, ended after so many seconds (0: never), where timeout(1) is there (after
# find_bound). The exit code is then 124, or 137 for one that would not end.
bounded() {
	bounded_seconds=$1
	shift
	if [ "$bounded_seconds" -gt 0 ] && [ "$bound" ]; then
		$bound "$bounded_seconds" "$@"
	else
		"$@"
	fi
}

# exec_bounded SECONDS COMMAND…: as bounded, in place of this shell: a signal to it reaches the command
exec_bounded() {
	bounded_seconds=$1
	shift
	if [ "$bounded_seconds" -gt 0 ] && [ "$bound" ]; then
		exec $bound "$bounded_seconds" "$@"
	else
		exec "$@"
	fi
}

# timed_out CODE: true for the exit codes of a command that was ended by its bound
timed_out() {
	[ "$1" -eq 124 ] || [ "$1" -eq 137 ]
}
