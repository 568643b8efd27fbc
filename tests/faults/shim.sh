#!/bin/sh
# Stands before every command in PATH, under its name. It writes down each call (of virsh also each of its own commands)
# in $FAULT_DIR, and does to the $FAULT_NTH call of $FAULT_COMMAND what $FAULT_MODE says. Builtins only: it must be fast.
# The modes are described in model.py.

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

# to_end COMMAND…: until it ends, or is ended as a virsh at its gate is
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

# run COMMAND…: a signal to this shell, as from timeout, reaches it
run() {
	"$@" &
	child=$!
	trap 'kill "$child"; exit 143' TERM
	code=0
	wait "$child" || code=$?
	trap - TERM
	return "$code"
}

# disturb_one: one command out of a batch of virsh: $before, $one and $after are parts of it, "$@" is the rest of the call
disturb_one() {
	[ -z "$before" ] || run "$@" "$before"
	case $FAULT_MODE in
		kill-during | kill-at-end)
			part "$@" &
			/bin/sleep "$FAULT_DELAY"
			slay
			wait "$!"
			;;
		kill-after)
			run "$@" "$one"
			slay
			;;
		daemon-during)
			part "$@" &
			/bin/sleep "$FAULT_DELAY"
			end_daemon
			wait "$!"
			exit
			;;
		stall-during)
			hit
			part "$@"
			;;
		fail-before)
			hit
			printf 'error: a fault on purpose\n'
			;;
		lost-after)
			run "$@" "$one"
			hit
			printf 'error: Disconnected from qemu:///system due to end of file\n'
			exit 1
			;;
		hang-after)
			run "$@" "$one"
			hang
			;;
	esac
	[ -z "$after" ] || exec "$@" "$after"
	exit
}

# part COMMAND…: as it is; but of an upload only a part, and then silence, as from a slow disk
part() {
	case $one in
		*"'--file="*) ;;
		*) exec "$@" "$one" ;;
	esac
	file=${one#*"'--file="}
	file=${file%%"'"*}
	bytes=$(PATH=$FAULT_PATH && wc -c <"$file")
	case $FAULT_MODE in
		kill-at-end) bytes=$((bytes - 1)) ;;
		*) bytes=$((bytes / 2)) ;;
	esac
	/usr/bin/mkfifo "$FAULT_DIR/fifo"
	{
		/usr/bin/head -c "$bytes" "$file"
		[ "$FAULT_MODE" = daemon-during ] || exec /bin/sleep 1000
		until [ -e "$FAULT_DIR/hit" ]; do /bin/sleep 0.05; done
	} >"$FAULT_DIR/fifo" &
	exec "$@" "${one%%"'--file="*}'--file=$FAULT_DIR/fifo'${one#*"'--file=$file'"}"
}

if count "$name"; then
	disturb "$real" "$@"
fi
case $name$* in
	"virsh"*"' ; '"*) ;;
	*) exec "$real" "$@" ;;
esac

# virsh [OPTION…] BATCH: the batch is one or more of `'COMMAND' 'OPTION' … ; `
options=$#
for word; do
	shift
	options=$((options - 1))
	if [ "$options" -eq 0 ]; then batch=$word; else set -- "$@" "$word"; fi
done
rest=$batch before=''
while [ "$rest" ]; do
	one=${rest%%"' ; '"*}
	case $rest in
		"$one") ;;
		*) one="$one' ; " ;;
	esac
	rest=${rest#"$one"}
	command=${one#\'}
	command=${command%%\'*}
	before=$before$one
	case $one in
		"'cpu-compare' '--file=gate.tmp'"*) # what is behind a gate counts when that is open
			run "$real" "$@" "$before" || :
			before=''
			;;
		"'echo'"* | "'cpu-compare'"*) ;; # marks
		*)
			if count "virsh $command"; then
				before=${before%"$one"} after=$rest
				disturb_one "$real" "$@"
			fi
			;;
	esac
done
[ -z "$before" ] || exec "$real" "$@" "$before"
