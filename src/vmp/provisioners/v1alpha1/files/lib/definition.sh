# What the domain is made from, as checksums: its metadata carries a mark of them, so that it shows when they have changed.
# shellcheck shell=sh disable=SC2034,SC2154,SC1091 # the files of lib/ and vm.sh share their variables

# definition: a checksum of what the domain is made from, in $definition; of its seed in $seed. Once in a run.
definition() {
	[ -z "$definition" ] || return 0
	definition=$(print_definition | cksum) || die 'cksum failed'
	definition=${definition%% *}-${definition#* }
	seed_checksum
}

print_definition() {
	print_word "$domain_autostart" "$image_reference"
	each_pool print_facts pool 2
	each_volume print_facts volume 0
	virt_install_options print_word
	[ -z "$secrets_file" ] || {
		read_secrets
		each_secret print_word
	}
}

read_secrets() {
	[ -r "$secrets_file" ] || die "there is no $secrets_file, which holds passwords of the domain" "'vmp gen' writes it"
	. ./secrets.sh
}

print_word() {
	printf '%s\0' "$@"
}

# The deletion policy is no part of a domain.
print_facts() {
	case $1 in
		pool) print_word "$3" "$4" ;;
		*)
			shift 2
			print_word "$1" "$2" "$3"
			shift 4
			case $2 in
				node) print_word "$1" upload "$3" ;; # who filled it is no part either
				*) print_word "$@" ;;
			esac
			;;
	esac
}

# tell_stale: says when the domain was made from something else than what is described now
tell_stale() {
	stale=''
	[ "$domain_state" ] || return 0
	definition
	case $domain_mark in
		*" definition=\"$definition\" seed=\"$seed\""*) return 0 ;;
		*" definition=\"$definition\""*) stale='the cloud-init seed has changed since the domain was made' ;;
		*" seed=\"$seed\""*) stale='the definition has changed since the domain was made' ;;
		*) stale='the definition and the cloud-init seed have changed since the domain was made' ;;
	esac
	stale_lost='' number=0
	each_volume note_lost
	say "$stale; '${VMP_MAKE:-make} down up' makes it anew${stale_lost:+, and with it $stale_lost: what is there is lost}"
}

# Those that go with `down` and do not come from a file again.
note_lost() {
	[ "$4" = Retain ] || [ "${7-}" = "$seed_path" ] || stale_lost="$stale_lost${stale_lost:+, }$1/$2"
}
