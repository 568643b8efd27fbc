# VMs of a fleet that are alike but for words of their own: name, UUID, derived MAC addresses, paths of volumes. When two of
# them, each for itself, have had the same answer of virt-install but for these words, the next need not ask.
# While the fleet's `make up` runs, $VMP_ALIKE is a directory of such answers: files of the question, in one line, and the
# answer, in which each line that is a VM's own is replaced by `<vmp:…>`. NAME.once is what one VM was answered, NAME what two were.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

question=''   # '' where the answer to another VM would not do
taken=''      # whether the answer has been taken from there
own_to_all='' # pairs of lines: as this VM has it, and what stands for it
all_to_own='' # the same pairs, the other way round

# take_answer: into $domain_xml; false where there is none. After the volumes are there.
take_answer() {
	[ -z "$taken" ] || return 0
	find_question
	[ "$question" ] && [ -e "$question_file" ] || return 1
	answered=$(cat "$question_file") || return 1
	case $answered in
		"$question$nl"*) ;;
		*) return 1 ;;
	esac
	translate "${answered#"$question$nl"}" "$all_to_own" || return 1
	case $nl$translated in
		*"$nl<vmp:"*) return 1 ;;
	esac
	domain_xml=$translated taken=yes
}

# give_answer: virt-install's, in $domain_xml, for others. Where that cannot be written, they ask for themselves.
give_answer() {
	find_question
	[ "$question" ] && [ ! -e "$question_file" ] && translate "$domain_xml" "$own_to_all" || return 0
	{ printf '%s\n' "$question" "$translated" >"$VMP_ALIKE/$$.tmp"; } 2>/dev/null || return 0
	if ! ln "$VMP_ALIKE/$$.tmp" "$question_file.once" 2>/dev/null &&
		cmp -s "$VMP_ALIKE/$$.tmp" "$question_file.once"; then
		mv -f "$VMP_ALIKE/$$.tmp" "$question_file" 2>/dev/null || :
	else
		rm -f "$VMP_ALIKE/$$.tmp"
	fi
}

# find_question: all that the answer depends on, but not this VM's own words
find_question() {
	question='' own_to_all=$nl all_to_own=$nl
	[ "$VMP_ALIKE" ] && [ -z "$secrets_file" ] || return 0
	variable=''
	virt_install_options note_variable
	[ -z "$variable" ] || return 0
	own=yes
	ask "$libvirt_uri"
	virt_install_options ask_options
	[ "$own" ] || question=''
	[ "$question" ] || return 0
	question_file=$(print_word "$question" | cksum) || die 'cksum failed'
	question_file=$VMP_ALIKE/${question_file%% *}-${question_file#* }
}

# ask WORD…: one line, whatever is in the words
ask() {
	for asked_word; do
		quote "$asked_word"
		case $quoted in
			*"$nl"*) own='' ;;
		esac
		question="$question$quoted "
	done
}

ask_options() {
	for asked; do
		case $asked in
			"--name=$domain_name")
				asked=--name
				note_own "  <name>$domain_name</name>" "$domain_name" name
				;;
			"--uuid=$domain_uuid")
				asked=--uuid
				note_own "  <uuid>$domain_uuid</uuid>" "$domain_uuid" uuid
				;;
			--network=*)
				mac_number=0
				each_derived_mac ask_mac
				;;
			--disk=*)
				number=0 facts=$volume_facts
				each_volume ask_disk
				;;
		esac
		ask "$asked"
	done
}

ask_mac() {
	mac_number=$((mac_number + 1))
	case $asked in
		*[=,]mac="$1") ;;
		*) return 0 ;;
	esac
	asked=${asked%"=$1"}
	ask "mac $mac_number"
	note_own "      <mac address=\"$1\"/>" "$1" "mac $mac_number"
}

# ask_disk POOL NAME FORMAT POLICY CAPACITY KIND FILE…: this run must have made it, from a file that others have as well;
# else its format may be another one than theirs
ask_disk() {
	next_volume
	case $asked, in
		*[=,]vol="$1/$2",*) ;;
		*) return 0 ;;
	esac
	case $partial in
		*" $number "*) ;;
		*) has_line "$achieved" "created volume $1/$2" || own='' ;;
	esac
	case $6-${7-} in
		"upload-$seed_path" | upload-/* | upload-../* | blank-* | backing-*) ;;
		*) own='' ;;
	esac
	asked_rest=${asked#*vol="$1/$2"}
	asked=${asked%%vol="$1/$2"*}vol$asked_rest
	declares_pool "$1" || ask "$1" # which may be one of block devices; those that a VM declares are directories
	ask "$number" "$3" "$6" "${7-}"
	note_own "      <source file=\"$path\"/>" "$path" "volume $number"
}

# note_own LINE VALUE WORD: the line that has it in virt-install's answer, if it is one that needs no escaping there
note_own() {
	case $2 in
		*[!A-Za-z0-9/._:+@%=-]*) own='' ;;
	esac
	own_to_all="$own_to_all$1$nl<vmp:$3>$nl"
	all_to_own="$all_to_own<vmp:$3>$nl$1$nl"
}

# translate XML PAIRS: into $translated; false unless each line of the pairs is there
translate() {
	translated='' pairs=$2
	case $1 in
		*"$nl$nl"*) return 1 ;; # the loop below would lose that line
	esac
	set -f
	IFS=$nl
	# shellcheck disable=SC2086 # they are lines
	set -- $1
	unset IFS
	set +f
	for line; do
		case $pairs in
			*"$nl$line$nl"*)
				pairs_rest=${pairs#*"$nl$line$nl"}
				pairs=${pairs%%"$nl$line$nl"*}$nl${pairs_rest#*"$nl"}
				line=${pairs_rest%%"$nl"*}
				;;
		esac
		translated=$translated${translated:+"$nl"}$line
	done
	[ "$pairs" = "$nl" ]
}
