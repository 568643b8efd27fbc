# One at a time: a lock is a file, held through flock(1), or a symbolic link to `host:pid` where there is no flock.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

# lock FD FILE WHAT: waits for the lock and holds it until this process ends
lock() {
	if have flock; then
		case $1 in
			8) exec 8>>"$2" ;;
			*) exec 9>>"$2" ;;
		esac
		flock -n "$1" && return
		say "waiting for another run that $3"
		flock "$1" || die "cannot lock $2"
		return
	fi
	lock_link=$2.link
	lock_waited=''
	until ln -s "$(uname -n):$$" "$lock_link" 2>/dev/null; do
		lock_owner=$(readlink "$lock_link" 2>/dev/null || :)
		if [ "${lock_owner%:*}" = "$(uname -n)" ] && ! kill -0 "${lock_owner##*:}" 2>/dev/null; then
			rm -f "$lock_link" # its owner died
			continue
		fi
		[ "$lock_waited" ] || say "waiting for another run that $3 ($lock_link)"
		lock_waited=yes
		sleep 1
	done
	locks=$locks$lock_link$nl
	trap leave EXIT
	trap_signals
}

# trap_signals: so that these, too, end with `leave`
trap_signals() {
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# leave: the end of this run, also one that failed
leave() {
	[ -z "$install_pid" ] || kill "$install_pid" 2>/dev/null || :
	give_up_seed
	hang_up
	[ -z "$beside" ] || kill "$beside" 2>/dev/null || :
	while [ "$locks" ]; do
		rm -f "${locks%%"$nl"*}"
		locks=${locks#*"$nl"}
	done
}
