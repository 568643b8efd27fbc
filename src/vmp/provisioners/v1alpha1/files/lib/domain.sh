# The libvirt domain. Ours is the one with domain_uuid, whatever its name; another one with our name is somebody else's.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

deletion=''  # the state of the domain that is being deleted
own_disks='' # and what its disks were

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

# queue_domain THEN: that it is defined from domain.xml and, with `start`, started
queue_domain() {
	queue define --file=domain.xml
	[ -z "$domain_autostart" ] || queue autostart "--domain=$domain_uuid"
	queue_done "created domain $domain_name"
	[ "$1" = start ] || return 0
	queue start "--domain=$domain_uuid"
	queue_done "started domain $domain_name"
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
		running | idle | blocked)
			already_running=yes
			return
			;;
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

# begin_deletion: of the domain, whatever state it is in; end_deletion says whether it is gone. Pulling the plug takes a
# moment: what there is to ask meanwhile can be asked.
begin_deletion() {
	[ "$domain_state" ] || {
		forget_domain
		return
	}
	deletion=$domain_state
	undefine_flags='--managed-save --snapshots-metadata --checkpoints-metadata --nvram --tpm'
	begin_undefine
}

# begin_undefine: with the plug pulled
begin_undefine() {
	undefine_failure=''
	mark 'users own'
	queue dumpxml "--domain=$domain_uuid"
	if [ "$deletion" = 'shut off' ]; then
		mark 'users start' # it fails, unless somebody starts it at this moment
	else
		mark undefine
	fi
	queue destroy "--domain=$domain_uuid"
	mark undefine
	# shellcheck disable=SC2086 # they are words
	queue undefine "--domain=$domain_uuid" $undefine_flags
	mark state
	queue domstate "--domain=$domain_uuid"
	begin_beside
}

# end_undefine: the domain is then gone ($domain_state is ''), or $undefine_failure says why not
end_undefine() {
	own_disks='' domain_state=''
	end_beside && return
	case $failure in
		*"support option"*) # an older virsh; it has done nothing of the queue
			undefine_known=$(bounded "$V1ALPHA1_COMMAND_TIMEOUT_SECS" virsh help undefine) || die 'virsh does not work' "$undefine_known"
			set --
			for flag in $undefine_flags; do
				case $undefine_known in
					*"[$flag]"*) set -- "$@" "$flag" ;;
				esac
			done
			undefine_flags=$*
			begin_undefine
			end_beside && return
			;;
	esac
	undefine_failure=${undefine_failure:-$failure}
	look_state
}

# end_deletion: nothing, where none has begun
end_deletion() {
	[ "$deletion" ] || return 0
	end_undefine
	[ -z "$domain_state" ] || die "could not delete domain $domain_name" "$undefine_failure"
	if [ "$undefine_failure" ] && [ -e domain.xml ] && grep -q "^ *<uuid>$domain_uuid</uuid>$" domain.xml; then
		# It went by itself, as transient ones do when they stop, and its NVRAM stayed: that goes with a defined one.
		queue define --file=domain.xml
		# shellcheck disable=SC2086 # they are words
		queue undefine "--domain=$domain_uuid" $undefine_flags
		run_batch || :
	fi
	case $deletion in
		'shut off') say "deleted domain $domain_name" ;;
		*) say "deleted domain $domain_name (the plug was pulled)" ;;
	esac
	deletion=''
	forget_domain
}

forget_domain() {
	if [ -e known_hosts ] || [ -e known_hosts.old ]; then
		rm -f known_hosts known_hosts.old
	fi
}
