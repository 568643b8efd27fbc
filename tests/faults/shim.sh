#!/bin/sh
# Stands before every command in PATH, under its name. It writes down each call in $FAULT_DIR, and does to the $FAULT_NTH call of $FAULT_COMMAND what $FAULT_MODE says. Builtins only: it must be fast.
# The modes are described in model.py.

# libvirt hands none of that on to the ssh that it runs: it stands in a file, too.
# shellcheck source=/dev/null
[ -n "${FAULT_DIR-}" ] || . "${0%/*}/../orders"

name=${0##*/}
ifs=$IFS IFS=:
for real in $FAULT_PATH; do
	[ ! -x "$real/$name" ] || break
done
IFS=$ifs
real=$real/$name

# Pauses between tries need not be real ones.
[ "$name" != sleep ] || [ -z "$FAULT_SLEEP" ] || set -- "$FAULT_SLEEP"

# count COMMAND: which call of it this is, in $count; true when it is the one
count() {
	count=1
	set -C # the file is made by one of several that run at the same time
	until { command : >"$FAULT_DIR/calls/$1 $count"; } 2>/dev/null; do
		count=$((count + 1))
	done
	set +C
	printf '%s %s\n' "$1" "$count" >>"$FAULT_DIR/log"
	[ "$FAULT_COMMAND $FAULT_NTH" = "$1 $count" ]
}

# hit: the fault happens now
hit() {
	: >"$FAULT_DIR/hit"
}

# slay: whom nobody asks. What is in another process group lives on.
slay() {
	hit
	kill -s KILL -- "-$FAULT_GROUP"
}

hang() {
	hit
	exec /bin/sleep 1000
}

# end_daemon: libvirtd dies as well as a process can
end_daemon() {
	read -r daemon </run/libvirtd.pid
	kill -s KILL "$daemon"
	/bin/sleep 0.1
	hit
}

# to_end COMMAND…: until it ends, or is ended as a virsh is at the end of a run
to_end() {
	[ "$name" = virsh ] || {
		"$@"
		return
	}
	exec 3<&0
	"$@" <&3 3<&- &
	child=$!
	trap 'kill "$child"' TERM
	code=0
	wait "$child" || code=$?
	trap - TERM
	wait "$child" 2>/dev/null # again, where the signal has ended the waiting
	return "$code"
}

# disturb COMMAND…: the whole command
disturb() {
	case $FAULT_MODE in
		kill-before) slay ;;
		kill-during)
			exec 3<&0 # a background command would read from /dev/null
			"$@" <&3 3<&- &
			[ "$FAULT_DELAY" = 0 ] || /bin/sleep "$FAULT_DELAY"
			slay
			wait "$!"
			exit
			;;
		kill-after)
			to_end "$@"
			code=$?
			slay
			exit "$code"
			;;
		fail-before)
			hit
			printf '%s: error: a fault on purpose\n' "$name" >&2
			exit 1
			;;
		fail-after)
			to_end "$@"
			hit
			printf '%s: error: a fault on purpose\n' "$name" >&2
			exit 1
			;;
		daemon-before) end_daemon ;;
		hang-before) hang ;;
		hang-after)
			to_end "$@"
			hang
			;;
	esac
	exec "$@"
}

if count "$name"; then
	disturb "$real" "$@"
fi
case $name in
	virsh) exec /usr/bin/python3 -I "$FAULT_VIRSH" "$real" "$@" ;; # which counts its own commands
	*) exec "$real" "$@" ;;
esac
