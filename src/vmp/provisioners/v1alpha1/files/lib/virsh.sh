# The process of virsh: one carries out one batch, or several that are foreseen. Between two of these it stands at a gate,
# a command that reads from a FIFO and ends when that is opened. What is decided meanwhile must be what was foreseen, to the
# letter: then the gate is opened, and nobody waits for another connection. Else that virsh is ended at the gate, where it
# does nothing, and a new one does what was decided.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

foreseen=''      # the batches to come, each behind a gate
foreseen_bytes=0 # what they upload
talk=''          # the process of the virsh that stands at a gate
talk_gate=''     # that which opens it
meanwhile=''     # what is to be done while that virsh is at work on the next batch
beside=''        # the process of the virsh that carries out a batch beside this shell

# An error makes virsh write what it has said before; cpu-compare finds no CPU in an empty file, and asks libvirt nothing.
flush="'cpu-compare' '--file=/@/' ; "
gate="$flush'cpu-compare' '--file=gate.tmp' ; 'echo' '$nl/@/$$/go$nl' ; "

# Of the XML that virsh prints only a few lines are read; what a domain says of itself is none of them.
wanted_lines='
/^ *<\(title\|description\|cmdline\|entry\)[ >].*<\/\(title\|description\|cmdline\|entry\)>$/d
/^ *<title>/,/<\/title>$/d
/^ *<description>/,/<\/description>$/d
/^ *<metadata>$/,/^ *<\/metadata>$/d
/^ *<cmdline>/,/<\/cmdline>$/d
/^ *<entry[ >]/,/<\/entry>$/d
/<source /b
/<path>/b
/backingStore>/b
/<provisioner /b
/<kernel>/b
/<initrd>/b
/^ *<[/a-z]/d'

end="'echo' '$nl/@/$$/end$nl' ; " # of a batch

# foresee: what is queued is likely to be the batch after the next, or after those foreseen already
foresee() {
	foreseen=$foreseen$gate$batch$end
	batch=''
}

# is_foreseen BATCH: whether it is the next of those foreseen
is_foreseen() {
	case $foreseen in
		"$gate$1$end" | "$gate$1$end$gate"*) return 0 ;;
	esac
	return 1
}

# is_among_foreseen BATCH: whether it is one of them
is_among_foreseen() {
	case $foreseen in
		*"$gate$1$end"*) return 0 ;;
	esac
	return 1
}

# run_batch: carries out what is queued. False when a command failed, with libvirt's words in $failure (see read_answer).
run_batch() {
	find_bound
	if is_foreseen "$batch"; then
		foreseen=${foreseen#"$gate$batch$end"}
	else
		hang_up
	fi
	batch=$batch$end
	if [ "$talk" ]; then
		: >gate.tmp &
		talk_gate=$!
		$meanwhile
		hear gate
	elif [ "$foreseen" ] && [ "$((${#batch} + ${#foreseen}))" -lt 60000 ] && begin_talk; then # of an argument's 128 KiB
		$meanwhile
		hear ''
	else
		foreseen=''
		answer=$(ask_libvirt | sed "$wanted_lines") || :
		read_answer ''
	fi
	batch='' batch_bytes=0
	# shellcheck disable=SC2086 # they are words
	[ -z "$xml_files" ] || rm -f $xml_files
	xml_files='' meanwhile=''
	[ -z "$failure" ]
}

# ask_libvirt: a dead connection is found out by virsh itself; a daemon that hangs, by the bound. What is uploaded adds
# to it.
ask_libvirt() {
	ask_code=0
	bound_of "$batch_bytes"
	bounded "$bound_seconds" virsh -q -c "$connection" "$batch" 2>&1 || ask_code=$?
	! timed_out "$ask_code" || tell_bound
}

# A mark of its own: some sections do not mind errors.
tell_bound() {
	printf '\n%s\n' "/@/$$/bound" "error: virsh took longer than $bound_seconds seconds and was ended"
}

# begin_beside: has what is queued carried out beside what this shell does next; end_beside waits, and reads the answer as
# run_batch does. Without FIFOs, or where both might ask for a password, it is carried out at once.
begin_beside() {
	find_bound
	bound_of "$batch_bytes"
	batch="'echo' '$nl/@/$$/gate$nl' ; $flush'echo' '$nl/@/$$/go$nl' ; $batch$end"
	if connects_quietly && mkfifo beside.tmp 2>/dev/null; then
		trap leave EXIT
		trap_signals
		keep_terminal
		exec 6<>beside.tmp # which waits for nobody
		(exec_bounded "$bound_seconds" virsh -q -c "$connection" "$batch") <&4 >&6 2>&1 4<&- 6>&- &
		beside=$!
		exec 7<beside.tmp
		exec 4<&- 6>&-
		rm -f beside.tmp
		read -r beside_first <&7 || : # it is at work: what comes next may take the processor from it
	else
		[ ! -e beside.tmp ] || rm -f beside.tmp
		beside_answer=$(ask_libvirt | sed "$wanted_lines") || :
	fi
	batch='' batch_bytes=0
}

end_beside() {
	if [ "$beside" ]; then
		beside_answer=$beside_first$nl$(sed "$wanted_lines" <&7) || :
		beside_code=0
		wait "$beside" || beside_code=$?
		beside=''
		exec 7<&-
		! timed_out "$beside_code" || beside_answer=$beside_answer$(tell_bound)
	fi
	answer=$beside_answer
	read_answer ''
}

# keep_terminal: as file 4; else what runs beside this shell has none to ask at
keep_terminal() {
	if [ -t 0 ]; then exec 4<&0; else exec 4</dev/null; fi
}

# begin_talk: starts the virsh of the batch and of all that is foreseen; false where there are no FIFOs. Its own bound is
# for the case that nobody is left to end it.
begin_talk() {
	mkfifo gate.tmp answers.tmp 2>/dev/null || {
		rm -f gate.tmp answers.tmp
		return 1
	}
	trap leave EXIT
	trap_signals
	keep_terminal
	exec 6<>answers.tmp # a FIFO that is read and written waits for nobody
	bound_of "$foreseen_bytes"
	(exec_bounded "$((bound_seconds * 10))" virsh -q -c "$connection" "$batch$foreseen") \
		<&4 >answers.tmp 2>&1 4<&- 6>&- 8>&- 9>&- & # not >&6: with nobody left to read, it ends at its next word
	talk=$!
	exec 5<answers.tmp
	exec 4<&- 6>&-
}

# hear SECTION: the answer to one batch, up to its end, as the rest is for the next; after the last, until virsh has ended.
# Who ends this shell alone meanwhile (SIGTERM) leaves a reader that ends virsh before the next gate.
hear() {
	hear_code=0 hear_end=''
	[ -z "$foreseen" ] || hear_end="\\|^/@/$$/end\$|q"
	bound_of "$batch_bytes"
	trap - TERM
	answer=$(
		trap '' PIPE
		bounded "$bound_seconds" sed "$hear_end$wanted_lines" <&5 2>/dev/null || {
			hear_code=$?
			kill "$talk" 2>/dev/null
			exit "$hear_code"
		}
	) || hear_code=$?
	trap_signals
	! timed_out "$hear_code" || answer=$answer$(tell_bound)
	read_answer "$1"
	[ -z "$ended" ] || talk_gate=''
	if [ -z "$ended" ] || timed_out "$hear_code"; then
		hang_up
	elif [ -z "$foreseen" ]; then
		forget_talk
	fi
}

# hang_up: ends the virsh that stands at a gate, and, once it is gone, what was to open that
hang_up() {
	[ "$talk" ] || return 0
	kill "$talk" 2>/dev/null || :
	wait "$talk" 2>/dev/null || :
	[ -z "$talk_gate" ] || {
		exec 6<>gate.tmp
		wait "$talk_gate" 2>/dev/null || :
		exec 6>&-
	}
	forget_talk
}

forget_talk() {
	talk='' talk_gate='' foreseen='' foreseen_bytes=0
	exec 5<&-
	rm -f gate.tmp answers.tmp
}
