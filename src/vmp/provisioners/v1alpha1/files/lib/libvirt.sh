# Talking to libvirt: commands are queued, and virsh.sh has them carried out: `virsh -q 'cmd; cmd; …'`.
# virsh goes on after an error and its exit code is the last command's, so marks printed by its own `echo` tell
# which answer, and which error, belongs to which command. Marks start with /@/ and this
# process: no name in libvirt holds a slash, and what domains say of themselves is not read.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

batch=''        # the queue, as virsh's parser reads it (quotes as in sh)
batch_bytes=0   # what it uploads
failure=''      # what went wrong first in the last run_batch
achieved=''     # lines: what this run has said to be done
users_wanted='' # so that `look` asks for all pools of the node, too
xml_count=0
xml_files='' # those of the queue
imagined=''  # what is queued is only to be foreseen, and its XML is not known yet

# quote TEXT: for virsh's parser, in $quoted
quote() {
	quoted=''
	quote_rest=$1
	while :; do
		case $quote_rest in
			*\'*)
				quoted="$quoted${quote_rest%%\'*}'\\''"
				quote_rest=${quote_rest#*\'}
				;;
			*) break ;;
		esac
	done
	quoted="'$quoted$quote_rest'"
}

# queue COMMAND [--OPTION=VALUE…]
queue() {
	for queue_word; do
		quote "$queue_word"
		batch="$batch$quoted "
	done
	batch="$batch; "
}

# queue_xml XML COMMAND [--OPTION=VALUE…]: a command that reads the XML from a file. (virsh's own pool-define-as and
# vol-create-as put names into XML without escaping them.)
queue_xml() {
	xml_count=$((xml_count + 1))
	[ "$imagined" ] || {
		printf '%s\n' "$1" >"create-$xml_count.tmp" || die_of_disk
		xml_files="$xml_files create-$xml_count.tmp"
	}
	shift
	queue "$@" "--file=create-$xml_count.tmp"
}

# escape TEXT: for XML, in $escaped
escape() {
	escaped='' escape_rest=$1
	while :; do
		case $escape_rest in
			*[\&\<\>\"\']*) ;;
			*) break ;;
		esac
		escape_head=${escape_rest%%[\&\<\>\"\']*}
		escape_rest=${escape_rest#"$escape_head"}
		case $escape_rest in
			\&*) escaped="$escaped$escape_head&amp;" ;;
			\<*) escaped="$escaped$escape_head&lt;" ;;
			\>*) escaped="$escaped$escape_head&gt;" ;;
			\"*) escaped="$escaped$escape_head&quot;" ;;
			*) escaped="$escaped$escape_head&apos;" ;;
		esac
		escape_rest=${escape_rest#?}
	done
	escaped=$escaped$escape_rest
}

mark() {
	queue echo "$nl/@/$$/$1$nl"
}

# queue_done TEXT: said when everything queued since the last mark went well
queue_done() {
	mark "done $1"
}

# look: queues every question about this VM
look() {
	mark look
	mark domains
	queue list --all --uuid --name
	mark active-networks
	queue net-list --name
	mark networks
	queue net-list --all --name
	mark state
	queue domstate "--domain=$domain_uuid"
	mark mark
	queue metadata "--domain=$domain_uuid" --uri=urn:vmp:v1alpha1
	[ -z "$users_wanted" ] || look_node_pools
	look_storage
}

# look_storage: the questions about its pools and volumes, and the pools that it uses
look_storage() {
	mark look-storage
	each_used_pool look_used_pool
	each_pool look_pool
	each_volume look_volume
	mark looked
}

look_node_pools() {
	mark node-pools
	queue pool-list --uuid --name # so that no name at the beginning of a line passes for an error
}

look_used_pool() {
	mark "pool $1"
	queue pool-info "--pool=$1"
}

look_pool() {
	look_used_pool "$1"
	mark pool-facts
	queue pool-dumpxml "--pool=$1"
}

look_volume() {
	mark volume
	queue vol-info --bytes --physical "--pool=$1" "--vol=$2"
	queue vol-path "--pool=$1" "--vol=$2"
	[ "$6" = backing ] || return 0
	mark base
	queue vol-info --bytes --physical "--pool=$7" "--vol=$8"
	queue vol-path "--pool=$7" "--vol=$8"
}

# read_answer SECTION: what `look` asked is then in domains, networks, active_networks, domain_state ('' = not defined),
# domain_mark; of the pools of this VM, those that there are in pools and active_pools; one record per pool and volume in
# pool_facts and volume_facts; libvirt's words for the first failure in failure.
read_answer() {
	failure='' errors='' section=$1 ended='' answer_flags=$-
	set -f
	IFS=$nl
	# shellcheck disable=SC2086 # they are lines; read(1) would fetch each byte by itself
	set -- $answer
	unset IFS
	case $answer_flags in
		*f*) ;;
		*) set +f ;;
	esac
	for line; do
		case $line in
			"/@/$$/"*) read_mark "${line#"/@/$$/"}" ;;
			error:\ *) read_error "${line#error: }" ;;
			*) read_line ;;
		esac
	done
	[ "$ended" ] || failure=${failure:-${errors:-the connection to $libvirt_uri was lost}}
	[ -z "$failure" ]
}

read_mark() {
	case $section in
		'kept '*)
			case $errors in
				'' | *'No such file'*) ;;
				*) say "$section: $errors" ;;
			esac
			errors=''
			;;
	esac
	if [ "$errors" ] && ! expected_errors; then
		case $1 in
			filled\ *) errors="volume ${1#filled * }: $errors" ;;
		esac
		failure=${failure:-$errors} # those that follow mostly follow from it
	else
		case $1 in
			done\ *)
				achieved=$achieved${1#done }$nl
				say "${1#done }"
				;;
			made\ *) partial="$partial${1#made } " ;;
			filled\ *) note_filled "${1#filled }" ;;
		esac
	fi
	errors=''
	case $section in
		pool-facts) pool_facts=$pool_facts$target$nl ;;
	esac
	case $1 in
		volume | looked)
			[ -z "$volume_seen" ] ||
				volume_facts="$volume_facts$physical$nl$capacity$nl$path$nl$base_capacity$nl$base_path$nl"
			;;
	esac
	section=$1
	case $1 in
		look-volumes) volume_facts='' volume_seen='' ;;
		look) domains='' networks='' active_networks='' domain_state='' domain_mark='' ;;
		look-storage) pools='' active_pools='' pool_facts='' volume_facts='' volume_seen='' ;;
		node-pools) node_pools='' ;;
		pool-facts) target='' ;;
		volume) volume_seen=yes physical='' capacity='' path='' base_capacity='' base_path='' ;;
		end) ended=yes ;;
	esac
}

read_error() {
	case $section in
		gate) ;;          # its command fails
		'users start') ;; # a pool that cannot be started holds nothing
		shutdown) ;;      # whether the guest heard it shows in its state
		undefine) undefine_failure="$undefine_failure${undefine_failure:+: }$1" ;;
		address*) address_answer="$address_answer$section error $1$nl" ;;
		*) errors="$errors${errors:+: }$1" ;;
	esac
}

# expected_errors: where a question was asked about something that need not be there
expected_errors() {
	case $section in
		state | mark | pool\ * | pool-facts | volume | base | users* | status) ;;
		*) return 1 ;;
	esac
	case $errors in
		*'not found'* | *' with matching '* | *"failed to get domain '"* | *'is not active'* | *'No such file'* | *'cannot stat'*) ;;
		*) return 1 ;;
	esac
}

read_line() {
	case $section in
		domains) domains=$domains$line$nl ;;
		node-pools | networks | active-networks)
			line=${line%"${line##*[! ]}"}
			case $section in
				node-pools) node_pools=$node_pools${line#*[[:space:]]}$nl ;;
				networks) networks=$networks$line$nl ;;
				*) active_networks=$active_networks$line$nl ;;
			esac
			;;
		'pool '*)
			case $line in
				State:*)
					pools=$pools${section#pool }$nl
					case $line in
						*' inactive') ;;
						*) active_pools=$active_pools${section#pool }$nl ;;
					esac
					;;
			esac
			;;
		state) domain_state=$line ;;
		mark) domain_mark=$domain_mark$line ;;
		pool-facts)
			case $line in
				*'<path>'*)
					unescape "$line" '<path>' '</path>'
					target=$unescaped
					;;
			esac
			;;
		volume)
			case $line in
				Capacity:*) digits "$line" && capacity=$digits ;;
				Physical:*) digits "$line" && physical=$digits ;;
				Name:* | Type:* | Allocation:*) ;;
				*) path=$line ;;
			esac
			;;
		base)
			case $line in
				Capacity:*) digits "$line" && base_capacity=$digits ;;
				Name:* | Type:* | Physical:* | Allocation:*) ;;
				*) base_path=$line ;;
			esac
			;;
		gate) ;;
		users*) read_user ;;
		address*) address_answer=$address_answer$section\ $line$nl ;;
		status) status_answer=$status_answer$line$nl ;;
		*) [ -z "$errors" ] || errors="$errors$nl  $line" ;; # the rest of an error
	esac
}

digits() {
	digits=${1#"${1%%[0-9]*}"}
	digits=${digits%%[!0-9]*}
	[ "$digits" ]
}

# unescape LINE BEFORE AFTER: the text between the two, out of XML, in $unescaped
unescape() {
	unescape_rest=${1#*"$2"}
	unescape_rest=${unescape_rest%%"$3"*}
	unescaped=''
	while :; do
		case $unescape_rest in
			*'&'*) ;;
			*) break ;;
		esac
		unescaped=$unescaped${unescape_rest%%&*}
		unescape_rest=${unescape_rest#*&}
		case ${unescape_rest%%;*} in
			amp) unescaped="$unescaped&" ;;
			lt) unescaped="$unescaped<" ;;
			gt) unescaped="$unescaped>" ;;
			quot) unescaped="$unescaped\"" ;;
			apos | '#39') unescaped="$unescaped'" ;;
			*) unescaped="$unescaped&${unescape_rest%%;*};" ;;
		esac
		unescape_rest=${unescape_rest#*;}
	done
	unescaped=$unescaped$unescape_rest
}

# next_fact: takes the first line off $facts, into $fact
next_fact() {
	fact=${facts%%"$nl"*}
	facts=${facts#*"$nl"}
}

# observe: look and nothing else; libvirt must answer
observe() {
	observe_tries=0
	while :; do
		look
		run_batch && return
		observe_tries=$((observe_tries + 1))
		if ! disturbed || [ "$observe_tries" -gt 10 ]; then
			die 'libvirt did not answer as it should' "$failure"
		fi
	done
}

# disturbed: true when virsh could not list the pools because another run took one away at that moment
disturbed() {
	case $failure in
		*'Could not retrieve pool information'*) ;;
		*) return 1 ;;
	esac
}
