# The libvirt domain. Ours is the one with domain_uuid, whatever its name; another one with our name is somebody else's.
# Its metadata carries a mark: checksums of the definition and of the seed that it was made from.
# domain.xml, what libvirt is given, is made once per definition: `down` leaves it, and the next `up` has no need of
# virt-install, which takes longer than all the rest. domain.xml.sum says what it was made from; without it, as after
# libvirt has refused it, the next run asks virt-install.
# shellcheck shell=sh disable=SC2034,SC2154,SC1091 # the files of lib/ and vm.sh share their variables

# check_owner: a domain of our name with another UUID is not touched
check_owner() {
	[ -z "$domain_state" ] || [ "$domain_mark" ] ||
		die "the domain with UUID $domain_uuid on $libvirt_uri was not made by a provisioner: it carries no mark" \
			'take that UUID out of the registry, or remove that domain'
	owner_rest=$domains
	while [ "$owner_rest" ]; do
		owner_line=${owner_rest%%"$nl"*}
		owner_rest=${owner_rest#*"$nl"}
		owner_uuid=${owner_line%%[[:space:]]*}
		owner_name=${owner_line#*[[:space:]]}
		owner_name=${owner_name%"${owner_name##*[! ]}"}
		if [ "$owner_uuid" = "$domain_uuid" ]; then
			[ "$owner_name" = "$domain_name" ] || say "the domain was renamed: it is called '$owner_name' now"
			continue
		fi
		[ "$owner_name" = "$domain_name" ] || continue
		die "there is another domain '$domain_name' on $libvirt_uri, which this provisioner did not make (UUID $owner_uuid)" \
			'give this VM another domain name, or remove that one'
	done
}

# definition: a checksum of what the domain is made from, in $definition; of its seed in $seed. Once in a run.
definition() {
	[ -z "$definition" ] || return 0
	definition=$(print_definition | cksum)
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

# put_secret PLACEHOLDER PASSWORD: into domain_xml, for no process list shows what the shell itself does
put_secret() {
	case $domain_xml in
		*"$1"*)
			escape "$2"
			domain_xml=${domain_xml%%"$1"*}$escaped${domain_xml#*"$1"}
			;;
	esac
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
			print_word "$@"
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
	say "$stale; 'make down up' makes it anew${stale_lost:+, and with it $stale_lost: what is on them is lost}"
}

# Those that go with `down` and do not come from a file again.
note_lost() {
	[ "$4" = Retain ] || [ "${7-}" = "$seed_path" ] || stale_lost="$stale_lost${stale_lost:+, }$1/$2"
}

# queue_domain THEN: that it is defined from domain.xml and, with `start`, started
queue_domain() {
	queue define --file=domain.xml
	[ -z "$domain_autostart" ] || queue autostart "--domain=$domain_uuid"
	queue_done "created domain $domain_name"
	[ "$1" = start ] || return 0
	queue start "--domain=$domain_uuid"
	queue_done "started domain $domain_name"
}

# provide_domain_xml: what queue_domain needs
provide_domain_xml() {
	definition
	domain_provisioner="<vmp:provisioner xmlns:vmp=\"urn:vmp:v1alpha1\" definition=\"$definition\" seed=\"$seed\"/>"
	if [ -z "$install_pid" ] && domain_xml_fits; then
		mark_again
	else
		make_domain_xml
	fi
}

# begin_domain_xml: virt-install starts beside what is still to be done, once that cannot change its answer: which volume
# has which path and format. (A seed is raw before and after it is uploaded.)
begin_domain_xml() {
	[ -z "$domain_state" ] && [ -z "$install_pid" ] || return 0
	[ -z "$node_ssh_host" ] || [ "$node_ssh_shared" ] || return 0 # two connections might ask for a password at once
	definition
	! made_from "$definition" || return 0
	unready='' number=0 facts=$volume_facts
	each_volume note_unready
	[ -z "$unready" ] || return 0
	find_bound
	virt_install_options exec_virt_install &
	install_pid=$!
	trap leave EXIT
}

note_unready() {
	next_volume
	[ "$path" ] || unready=yes
	[ "$6" = upload ] && [ "$7" != "$seed_path" ] || return 0
	case $partial in
		*" $number "*) unready=yes ;;
	esac
}

exec_virt_install() {
	exec_bounded "$V1ALPHA1_COMMAND_TIMEOUT_SECS" virt-install --connect "$connection" "$@" --print-xml 1 --dry-run \
		</dev/null >domain.xml.tmp 2>domain-error.tmp
}

# made_from DEFINITION: true when domain.xml was made from it; $stamp then is its sum
made_from() {
	stamp_definition='' stamp=''
	[ ! -s domain.xml ] || [ ! -s domain.xml.sum ] || read -r stamp_definition stamp <domain.xml.sum || :
	[ "$stamp_definition" = "$1" ]
}

# domain_xml_fits: whether domain.xml is what virt-install would make of the definition, on this node and with these
# volumes. What it finds out on the node otherwise (installation media, devices of the host, disks that this VM does not
# declare) may have changed.
domain_xml_fits() {
	made_from "$definition" || return 1
	variable=yes
	virt_install_options note_variable
	[ -z "$variable" ] || return 1
	domain_xml=$(cat domain.xml)
	sum_domain_xml
	[ "$stamp" = "$domain_sum" ]
}

note_variable() {
	variable=''
	for variable_option; do
		case $variable_option in
			--disk=none) ;;
			--disk=*)
				variable_disk=${variable_option#*=},
				declared=''
				each_volume match_disk
				[ "$declared" ] || variable=yes
				;;
			--cdrom* | --location* | --install* | --unattended* | --reinstall* | --pxe* | --hostdev* | --host-device*) variable=yes ;;
		esac
	done
}

match_disk() {
	case $variable_disk in
		vol="$1/$2",* | *,vol="$1/$2",*) declared=yes ;;
	esac
}

# sum_domain_xml: of $domain_xml and what it depends on beyond the definition, in $domain_sum
sum_domain_xml() {
	sum_paths='' number=0 facts=$volume_facts
	each_volume note_path
	domain_sum=$(print_word "$libvirt_uri" "$sum_paths" "$domain_xml" | cksum)
	domain_sum=${domain_sum%% *}-${domain_sum#* }
}

note_path() {
	next_volume
	sum_paths=$sum_paths$path$nl
}

make_domain_xml() {
	domain_code=0
	if [ "$install_pid" ]; then
		wait "$install_pid" || domain_code=$?
		install_pid=''
	else
		find_bound
		(virt_install_options exec_virt_install) || domain_code=$?
	fi
	! timed_out "$domain_code" || die "virt-install took longer than $V1ALPHA1_COMMAND_TIMEOUT_SECS seconds and was ended"
	[ "$domain_code" -eq 0 ] || {
		[ -s domain-error.tmp ] || die_of_disk # there was no room for the reason either
		die "virt-install refused the definition: $(cat domain-error.tmp)"
	}
	domain_xml=$(cat domain.xml.tmp)
	unescape_twice
	[ -z "$secrets_file" ] || {
		read_secrets
		each_secret put_secret
	}
	case $domain_xml in
		*'<metadata>'*) write_domain_xml "${domain_xml%%<metadata>*}<metadata>$nl    " "${domain_xml#*<metadata>}" ;;
		*'</name>'*) write_domain_xml "${domain_xml%%</name>*}</name>$nl  <metadata>" "</metadata>${domain_xml#*</name>}" ;;
		*) die "virt-install gave no domain: $domain_xml" ;;
	esac
}

# mark_again: domain.xml as it is, but for a seed that has changed
mark_again() {
	case $domain_xml in
		*"$domain_provisioner"*) return 0 ;;
	esac
	marked=${domain_xml#*<vmp:provisioner }
	write_domain_xml "${domain_xml%%<vmp:provisioner *}" "${marked#*/>}"
}

# write_domain_xml BEFORE AFTER: domain.xml, with the mark between them
write_domain_xml() {
	domain_xml=$1$domain_provisioner$2
	[ ! -e domain.xml.sum ] || rm -f domain.xml.sum
	printf '%s\n' "$domain_xml" >domain.xml.tmp || die_of_disk
	mv -f domain.xml.tmp domain.xml
	[ ! -e domain-error.tmp ] || rm -f domain-error.tmp
	sum_domain_xml
	printf '%s\n' "$definition $domain_sum" >domain.xml.sum || die_of_disk
}

# Up to 5.0, virt-install escapes attributes twice (https://github.com/virt-manager/virt-manager/issues/838): they are
# brought back by one level. Only the inside of tags is touched; in an answer of virt-install `>` ends a tag.
unescape_twice() {
	case $domain_xml in
		*'&amp;amp;'* | *'&amp;lt;'* | *'&amp;gt;'* | *'&amp;quot;'* | *'&amp;apos;'*) ;;
		*) return 0 ;;
	esac
	domain_probe=$(bounded "$V1ALPHA1_COMMAND_TIMEOUT_SECS" virt-install --connect test:///default --name probe --memory 64 --import --disk none --network none \
		--osinfo detect=off,require=off --graphics 'vnc,passwd=&' --print-xml --dry-run </dev/null 2>/dev/null) || :
	case $domain_probe in
		*'passwd="&amp;"'*) return 0 ;;
	esac
	domain_xml=$(printf '%s\n' "$domain_xml" | awk '{
		line = ""
		while (match($0, /<[^>]*>/)) {
			tag = substr($0, RSTART, RLENGTH)
			gsub(/&amp;amp;/, "\001", tag)
			gsub(/&amp;lt;/, "\\&lt;", tag)
			gsub(/&amp;gt;/, "\\&gt;", tag)
			gsub(/&amp;quot;/, "\\&quot;", tag)
			gsub(/&amp;apos;/, "\\&apos;", tag)
			gsub(/\001/, "\\&amp;", tag)
			line = line substr($0, 1, RSTART - 1) tag
			$0 = substr($0, RSTART + RLENGTH)
		}
		print line $0
	}')
}

create_domain() {
	[ -z "$domain_state" ] || return 0
	provide_domain_xml
	queue_domain ''
	run_batch || {
		rm -f domain.xml.sum
		die "could not create domain $domain_name" "$failure"
	}
	domain_state='shut off' domain_mark=$domain_provisioner
}

create_and_start_domain() {
	if [ -z "$domain_state" ]; then
		provide_domain_xml
		queue_domain start
		start_queued
	else
		start_domain
	fi
}

start_domain() {
	case $domain_state in
		'') die "there is no domain $domain_name" "'make create' makes it, 'make up' makes and starts it" ;;
		'in shutdown')
			say 'the domain is shutting down: waiting before it is started again'
			wait_off "$V1ALPHA1_STOP_TIMEOUT_SECS" ''
			[ "$domain_state" = 'shut off' ] || die "the domain is still shutting down after $V1ALPHA1_STOP_TIMEOUT_SECS seconds" \
				"'make kill start' pulls the plug and starts it again"
			;;
	esac
	case $domain_state in
		running | idle | blocked) return ;;
		paused)
			queue resume "--domain=$domain_uuid"
			queue_done "resumed domain $domain_name"
			;;
		pmsuspended)
			queue dompmwakeup "--domain=$domain_uuid"
			queue_done "woke domain $domain_name up"
			;;
		crashed)
			queue destroy "--domain=$domain_uuid"
			mark next
			;;
	esac
	case $domain_state in
		crashed | 'shut off' | 'no state' | dying)
			queue start "--domain=$domain_uuid"
			queue_done "started domain $domain_name"
			;;
	esac
	start_queued
}

start_queued() {
	run_batch || {
		start_failure=$failure
		look_state
		[ "$domain_state" ] || rm -f domain.xml.sum
		[ "$domain_state" = running ] || die "could not create and start domain $domain_name" "$start_failure"
	}
	domain_state=running
}

look_state() {
	domain_state=''
	mark state
	queue domstate "--domain=$domain_uuid"
	run_batch || die 'libvirt did not answer as it should' "$failure"
}

# stop_domain: asks the guest, then pulls the plug
stop_domain() {
	case $domain_state in
		'' | 'shut off') return ;;
		crashed)
			kill_domain
			return
			;;
	esac
	if [ "$V1ALPHA1_STOP_TIMEOUT_SECS" -eq 0 ]; then
		kill_domain
		return
	fi
	say 'asking the guest to shut down'
	mark shutdown
	case $domain_state in
		paused) queue resume "--domain=$domain_uuid" ;;
		pmsuspended) queue dompmwakeup "--domain=$domain_uuid" ;;
	esac
	wait_off "$V1ALPHA1_STOP_TIMEOUT_SECS" shutdown
	case $domain_state in
		'' | 'shut off') say "the guest shut down after $waited seconds" ;;
		*)
			say "the guest did not shut down within $waited seconds: pulling the plug"
			kill_domain
			;;
	esac
}

# wait_off SECONDS COMMAND: polls until the domain is off; COMMAND (shutdown or '') is repeated, as a guest that is
# still booting does not hear it
wait_off() {
	waited=0
	while :; do
		domain_state=''
		[ -z "$2" ] || [ $((waited % 10)) -ne 0 ] || {
			mark shutdown
			queue "$2" "--domain=$domain_uuid"
		}
		mark state
		queue domstate "--domain=$domain_uuid"
		run_batch || die 'libvirt did not answer as it should' "$failure"
		case $domain_state in
			'' | 'shut off' | crashed) return ;;
		esac
		[ "$waited" -lt "$1" ] || return 0
		sleep 1
		waited=$((waited + 1))
	done
}

kill_domain() {
	case $domain_state in
		'' | 'shut off') return ;;
	esac
	queue destroy "--domain=$domain_uuid"
	queue_done "stopped domain $domain_name (the plug was pulled)"
	run_batch || {
		kill_failure=$failure
		look_state
		case $domain_state in
			'' | 'shut off') ;;
			*) die "could not stop domain $domain_name" "$kill_failure" ;;
		esac
	}
	domain_state='shut off'
}

# delete_domain: whatever state it is in. With $users_wanted the same connection asks about the storage.
delete_domain() {
	[ "$domain_state" ] || {
		forget_domain
		return
	}
	undefine_note=' (the plug was pulled)'
	[ "$domain_state" != 'shut off' ] || undefine_note=''
	set -- --managed-save --snapshots-metadata --checkpoints-metadata --nvram --tpm
	undefine_domain "$@" || case $failure in
		*"support option"*) # an older virsh; it has done nothing of the queue
			undefine_known=$(bounded "$V1ALPHA1_COMMAND_TIMEOUT_SECS" virsh help undefine) || die 'virsh does not work' "$undefine_known"
			for flag; do
				shift
				case $undefine_known in
					*"[$flag]"*) set -- "$@" "$flag" ;;
				esac
			done
			undefine_domain "$@"
			;;
		*) false ;;
	esac || {
		disturbed || die 'libvirt did not answer as it should' "$failure" ${undefine_failure:+"$undefine_failure"}
		storage_asked=''
		observe
	}
	[ -z "$domain_state" ] || die "could not delete domain $domain_name" "$undefine_failure"
	if [ "$undefine_failure" ] && [ -e domain.xml ] && grep -q "^ *<uuid>$domain_uuid</uuid>$" domain.xml; then
		# It went by itself, as transient ones do when they stop, and its NVRAM stayed: that goes with a defined one.
		queue define --file=domain.xml
		queue undefine "--domain=$domain_uuid" "$@"
		run_batch || :
	fi
	say "deleted domain $domain_name$undefine_note"
	forget_domain
}

# undefine_domain FLAG…: with the plug pulled
undefine_domain() {
	undefine_failure=''
	mark 'users own'
	queue dumpxml "--domain=$domain_uuid"
	if [ "$domain_state" = 'shut off' ]; then
		mark 'users start' # it fails, unless somebody starts it at this moment
	else
		mark undefine
	fi
	queue destroy "--domain=$domain_uuid"
	mark undefine
	queue undefine "--domain=$domain_uuid" "$@"
	if [ "$users_wanted" ]; then queue_storage; else look; fi
	run_batch
}

forget_domain() {
	if [ -e known_hosts ] || [ -e known_hosts.old ]; then
		rm -f known_hosts known_hosts.old
	fi
}
