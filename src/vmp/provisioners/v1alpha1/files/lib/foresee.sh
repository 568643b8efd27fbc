# What `up` and `create` are likely to do with the volumes, told to virsh beforehand (see virsh.sh): from what was seen, or,
# before anything was asked, from what is likely there. Nothing is carried out that is not decided later, by volume.sh.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

largest=9223372036854775807

# foresee_volumes THEN: as foresee_rest does, before libvirt was asked: as if what this VM deletes were not there, and all
# the rest were
foresee_volumes() {
	[ -z "$image_on_node" ] || return 0
	imagined=yes
	domain_state='' pools='' active_pools='' volume_facts=''
	each_pool imagine_pool
	each_volume imagine_volume
	[ "$imagined" ] || return 0
	number=0 facts=$volume_facts
	each_volume foresee_check
	plan_volumes
	if [ "$batch" ]; then
		look
		put_aside
		foresee_rest "$1"
	else
		queue_domain "$1"
		foresee
	fi
	imagined=''
}

imagine_pool() {
	[ "$3" = Delete ] || pools=$pools$1$nl active_pools=$active_pools$1$nl
}

# imagine_volume POOL NAME FORMAT POLICY CAPACITY KIND SOURCE…: its facts, if it is there of as much room as one may want
imagine_volume() {
	imagined_facts=$largest$nl$largest$nl/$nl imagined_base=$nl$nl
	[ "$4" != Delete ] || imagined_facts=$nl$nl$nl
	case $6 in
		upload)
			if [ "$7" = "$seed_path" ]; then
				imagined_facts=$nl$nl$nl
				[ "$seed_pid" ] || [ -s "$7" ] || imagined=''
			elif [ ! -s "$7" ] || [ ! -r "$7" ]; then
				imagined=''
			fi
			;;
		backing)
			imagined_base=0$nl/$nl imagined_name=$7/$8
			each_volume imagine_base
			;;
	esac
	volume_facts=$volume_facts$imagined_facts$imagined_base
}

# imagine_base: of the volumes of this VM, those that are deleted are not there yet
imagine_base() {
	[ "$1/$2" != "$imagined_name" ] || [ "$4" != Delete ] || imagined_base=$nl$nl
}

# foresee_check POOL NAME…: the comparison with its file of a volume that was there before
foresee_check() {
	next_volume
	is_fixed "$@" || return 0
	file_size "$7"
	queue_ends "$1" "$2" "$size"
	foresee
}

# foresee_rest THEN: the plan is carried out, then what it makes is filled, then comes what had to wait for that, and then
# the domain is defined
foresee_rest() {
	batch=$aside_batch
	foresee
	number=0 facts=$volume_facts
	each_volume foresee_upload
	foresee_look
	number=0 facts=$volume_facts foreseen_xml=0
	each_volume foresee_deferred
	foresee_look
	[ -z "$1" ] || [ "$domain_state" ] || {
		queue_domain "$1"
		foresee
	}
}

# foresee_look: what is queued, if anything is, and a look at what came of it
foresee_look() {
	[ "$batch" ] || return 0
	look
	foresee
}

foresee_upload() {
	next_volume
	[ "$6" = upload ] && [ -z "$path" ] || return 0
	case $partial in
		*" $number "*) return ;;
	esac
	size=0 # of a seed, which may be in the making still
	[ "$7" = "$seed_path" ] || file_size "$7"
	if worth_copying && copies_likely; then queue_refresh_of "$@"; else queue_upload "$@"; fi
	foreseen_bytes=$((foreseen_bytes + size))
}

# foresee_deferred POOL NAME FORMAT POLICY CAPACITY KIND…: a layer over a volume that is not there yet, and room for what
# the file does not fill
foresee_deferred() {
	next_volume
	[ -z "$path" ] || return 0
	case $6-$base_path in
		backing-)
			foreseen_xml=$((foreseen_xml + 1))
			queue vol-create "--pool=$1" "--file=create-$foreseen_xml.tmp"
			queue_done "created volume $1/$2"
			;;
		upload-) [ -z "$5" ] || queue_growth "$1" "$2" "$5" ;;
	esac
}
