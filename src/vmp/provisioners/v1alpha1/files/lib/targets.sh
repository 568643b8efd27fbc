# The targets of the Makefile, one by one.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

run_target() {
	case $1 in
		help)
			help
			return
			;;
	esac
	case $1 in
		build | clean | clean-all | exec | ssh) ;;
		*) need 'talk to libvirt' virsh ;;
	esac
	case $1 in
		up | down | build | create | create/* | delete | delete/* | delete-all | clean | clean-all)
			lock 9 .lock 'changes this VM'
			clear_leftovers
			;;
	esac
	case $1 in
		up) up ;;
		down) down ;;
		build) need_for_build && build ;;
		create) prepare && create ;;
		create/pool) prepare && create_pools ;;
		create/volume) prepare && make_volumes '' ;;
		create/domain)
			prepare
			[ "$domain_state" ] || need 'make the domain' virt-install
			create_domain
			tell_stale
			;;
		start) prepare && create_pools_that_stopped && start_domain && tell_stale ;;
		start/pool) prepare && create_pools_that_stopped ;;
		start/domain) prepare && start_domain && tell_stale ;;
		stop | stop/domain) observe && check_owner && stop_domain ;;
		stop/pool) observe && stop_pools ;;
		stop-all) observe && check_owner && stop_domain && stop_pools ;;
		restart) prepare && stop_domain && create_pools_that_stopped && start_domain && tell_stale ;;
		kill) observe && check_owner && kill_domain ;;
		delete) delete '' domain volume pool ;;
		delete-all) delete yes domain volume pool ;;
		delete/domain) delete '' domain ;;
		delete/volume) delete '' volume ;;
		delete/volume-all) delete yes volume ;;
		delete/pool) delete '' pool ;;
		delete/pool-all) delete yes pool ;;
		clean) clean ;;
		clean-all) clean && clean_all ;;
		console) console ;;
		ip)
			find_address || die 'no address was found' "$address_reasons"
			printf '%s\n' "$address"
			;;
		ssh)
			check_ssh
			[ "$V1ALPHA1_SSH_HOST$V1ALPHA1_IP_CMD" ] || need 'find the address' virsh
			find_address || die 'no address was found' "$address_reasons"
			ssh_vm "$address" "$CMD"
			;;
		wait-for-ready) wait_ready all ;;
		wait-for-ready/*) wait_ready "${1#*/}" ;;
		exec) run_command ;;
		status) status ;;
		*)
			say "there is no target '$1'; 'make help' lists them"
			exit 2
			;;
	esac
}

# clear_leftovers: what a run that was killed has left here; one process, and only where there is something
clear_leftovers() {
	for leftover in create-*.tmp volume.tmp volume-end.tmp domain.xml.tmp domain-error.tmp gate.tmp answers.tmp beside.tmp; do
		[ ! -e "$leftover" ] || {
			rm -f create-*.tmp volume.tmp volume-end.tmp domain.xml.tmp domain-error.tmp gate.tmp answers.tmp beside.tmp
			return
		}
	done
}

# prepare: what there is, and whether we may go on, before anything is changed
prepare() {
	observe
	check_owner
	check_pools
	check_used
}

need_for_build() {
	need_for_image
	need_for_node
	need_for_seed
}

build() {
	build_image
	build_seed
	await_seed || exit 1
}

# make_volumes THEN: pools too; THEN is what is made of them (domain; start: and it is started; ''). The files are needed
# to make the volumes, and to see whether they are whole.
make_volumes() {
	[ "$domain_state" ] || need_for_build
	create_pools_that_stopped
	if [ -z "$domain_state" ] || volumes_missing; then
		need_for_build
		build_seed
		build_image
		[ -z "$image_on_node" ] || make_volumes_on_node
	fi
	create_volumes "$1"
}

create() {
	[ "$domain_state" ] || need 'make the domain' virt-install
	make_volumes domain
	create_domain
	tell_stale
}

up() {
	foresee_up
	prepare
	[ -z "$domain_state" ] || give_up_seed
	up_before=$domain_state already_running=''
	[ "$domain_state" ] || need 'make the domain' virt-install
	make_volumes start
	create_and_start_domain
	[ "$up_before" ] || return 0
	tell_stale
	[ -z "$already_running" ] || say 'is running'
}

# foresee_up: where nothing of this VM is likely to be there, the virsh that looks goes on to make it
foresee_up() {
	foresee_seed
	if [ "$seed_pid" ] || [ ! -e domain.xml.sum ]; then
		foresee_volumes start
		meanwhile=definition
	fi
}

create_pools_that_stopped() {
	! pools_stopped || create_pools
}

down() {
	users_wanted=yes
	observe
	check_owner
	case $domain_state in
		'' | 'shut off') ;;
		*)
			[ "$V1ALPHA1_STOP_TIMEOUT_SECS" -eq 0 ] || { # else deleting it pulls the plug
				stop_domain
				observe # others may have begun to use its volumes meanwhile
			}
			;;
	esac
	delete_what '' domain volume pool
	clean
}

delete() {
	case " $* " in
		*' volume '* | *' pool '*) users_wanted=yes ;;
	esac
	observe
	check_owner
	delete_what "$@"
}

# delete_what ALL WHAT…: after observe
delete_what() {
	delete_all=$1
	shift
	going='' volume_paths='' users='' own_disks=''
	case " $* " in
		*' domain '*) begin_deletion ;;
		*) [ -z "$domain_state" ] || die "domain $domain_name is there, and uses its volumes and pools" "delete it first: 'make delete/domain'" ;;
	esac
	[ -z "$users_wanted" ] || delete_storage "$@"
	end_deletion
}

clean() {
	[ "$seed_path" ] || return 0
	local_file "$seed_path"
	rm -f "$local_file" "$local_file.tmp" "$local_file.sum"
}

clean_all() {
	rm -f domain.xml domain.xml.sum
	[ -z "$image_on_node" ] || clean_node
	[ "$image_path" ] || return 0
	local_file "$image_path"
	rm -f "$local_file" "$local_file".*.part "$local_file.tmp" "$local_file.lock" "$local_file.lock.link"
	rmdir "${local_file%/*}" 2>/dev/null || :
}

console() {
	look_state
	[ "$domain_state" ] || die "there is no domain $domain_name" "'make up' makes and starts it"
	[ "$domain_state" = running ] || die "the domain is $domain_state: it has no console" "'make start' starts it"
	[ -t 0 ] || die 'the console needs a terminal on standard input'
	exec virsh console "--domain=$domain_uuid"
}

run_command() {
	export V1ALPHA1_IP_CMD V1ALPHA1_SSH_USER V1ALPHA1_SSH_HOST V1ALPHA1_SSH_OPTS V1ALPHA1_SSH_EXTRA_OPTS
	VM_NAME=$vm_name NODE_NAME=$node_name DOMAIN_NAME=$domain_name DOMAIN_UUID=$domain_uuid
	export VM_NAME NODE_NAME DOMAIN_NAME DOMAIN_UUID
	if [ "$CMD" ]; then
		exec sh -c "$CMD"
	fi
	have bash sh
	exec "$found"
}

help() {
	printf '%s: %s on node %s (%s)\n' "$vm_name" "$image_reference" "$node_name" "$libvirt_uri"
	cat <<-'EOF_HELP'

		make up                  build, create and start it
		make down                stop it, delete all but what is to be retained, clean
		make status              what there is: domain, pools, volumes, address

		make start, stop         stop asks the guest, and pulls the plug after V1ALPHA1_STOP_TIMEOUT_SECS (60)
		make restart, kill       stop and start; the plug at once
		make console             the serial console; Ctrl+] leaves it
		make ip                  its address
		make ssh [CMD=...]       a shell in it, or CMD
		make wait-for-ready      wait for its address, SSH and cloud-init (also wait-for-ready/ip, wait-for-ready/ssh)
		make exec [CMD=...]      bash, or CMD, here with its environment (LIBVIRT_DEFAULT_URI)

		make build               download the image, make the seed ISO
		make create              pools, volumes, domain (also create/pool, create/volume, create/domain)
		make start/pool, start/domain, stop/pool, stop/domain, stop-all
		make delete              domain, volumes, pools (also delete/domain, delete/volume, delete/pool); it pulls the plug
		make delete-all          retained volumes and pools too (also delete/volume-all, delete/pool-all)
		make clean, clean-all    remove the seed ISO; the downloaded image and domain.xml too

		Knobs (make ssh V1ALPHA1_SSH_USER=root):
		  V1ALPHA1_SSH_USER, V1ALPHA1_SSH_HOST, V1ALPHA1_SSH_OPTS, V1ALPHA1_SSH_EXTRA_OPTS
		  V1ALPHA1_IP_CMD                                    a command that prints the address
		  V1ALPHA1_COMMAND_TIMEOUT_SECS=600                  how long virsh and the like may take; 0: for ever
		  V1ALPHA1_STOP_TIMEOUT_SECS=60
		  V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS=600
		  V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS=3
		  V1ALPHA1_WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS=3
	EOF_HELP
}
