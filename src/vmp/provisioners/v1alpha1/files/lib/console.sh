# What the guest printed last on its serial console: the one witness when it has no address, or does not answer.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

# console_tail: in $console_text, with a heading, or why there is nothing to show
console_tail() {
	console_log=$($bound ${bound:+4} virsh -q -c "$connection" dumpxml "--domain=$domain_uuid" 2>/dev/null | awk '
		/<(serial|console)[ >]/ { inside = 1; file = /type=.file./ }
		inside && (/<log file=/ || (file && /<source path=/)) { print; exit }
		/<\/(serial|console)>/ { inside = 0 }') || :
	if [ "$console_log" ]; then
		case $console_log in
			*'<log file='*) unescape "$console_log" "file='" "'" ;;
			*) unescape "$console_log" "path='" "'" ;;
		esac
		console_log=$unescaped
		if console_text=$(node_tail "$console_log" 2>/dev/null | printable) && [ "$console_text" ]; then
			console_text="the end of the console ($console_log):$nl$console_text"
			return
		fi
	fi
	console_attach
	if [ "$console_text" ]; then
		console_text="the console, after Enter was pressed on it:$nl$console_text"
	else
		console_text="the console shows nothing${console_problem:+: $console_problem}"
	fi
	if [ "$console_log" ]; then
		console_text="$console_text${nl}its log is $console_log on the node"
	else
		console_text="$console_text${nl}to have a log of it, give the serial port a file: virtInstall: serial, option log.file"
	fi
}

# node_tail FILE: the last lines of a file of the node
node_tail() {
	if [ "$node_ssh_host" ]; then
		quote "$1"
		run_on_node "tail -n 20 -- $quoted"
	else
		case $libvirt_uri in
			*:///*) tail -n 20 -- "$1" ;;
			*) return 1 ;;
		esac
	fi
}

# console_attach: for two seconds. `virsh console` wants a terminal, which script(1) of util-linux makes. Without --force
# virsh lets be who is attached already.
console_attach() {
	console_text='' console_problem=''
	case $(script --version 2>/dev/null) in
		*util-linux*) ;;
		*) return 0 ;;
	esac
	console_output=$({
		sleep 1
		printf '\r'
		sleep 1
		printf '\035' # Ctrl+], which leaves it
	} | $bound ${bound:+4} script -qec "virsh console --domain=$domain_uuid" /dev/null 2>&1 | printable) || :
	case $console_output in
		*'Active console session exists'*) console_problem='somebody else is attached to it' ;;
		*error:*) console_problem=${console_output#*error: } ;;
		*) console_text=$(printf '%s\n' "$console_output" |
			sed -e '/^Authorization not available/d' -e '/^Connected to domain /d' -e '/^Escape character is /d' -e '/./!d') ;;
	esac
}

# printable: the last lines, with nothing in them that a terminal would obey
printable() {
	LC_ALL=C sed -e "s/$(printf '\033')\[[0-9;?]*[A-Za-z]//g" | LC_ALL=C tr -d '\000-\010\013-\037\177' | tail -n 20
}
