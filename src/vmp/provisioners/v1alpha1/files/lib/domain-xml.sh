# domain.xml, what libvirt is given, is made once per definition: `down` leaves it, and the next `up` has no need of
# virt-install, which takes longer than all the rest. domain.xml.sum says what it was made from; without it, as after
# libvirt has refused it, the next run asks virt-install.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

domain_xml='' # as it is, or is to be
summed=''     # what $domain_sum is the sum of

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
	[ -z "$domain_state" ] && [ -z "$install_pid" ] && connects_quietly || return 0
	definition
	! made_from "$definition" || return 0
	unready='' number=0 facts=$volume_facts
	each_volume note_unready
	[ -z "$unready" ] || return 0
	! take_answer || return 0
	find_bound
	virt_install_options exec_virt_install 5<&- &
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
	[ "$1" ] && [ "$stamp_definition" = "$1" ]
}

# domain_xml_fits: whether domain.xml is what virt-install would make of the definition, on this node and with these
# volumes. What it finds out on the node otherwise (installation media, devices of the host, disks that this VM does not
# declare) may have changed.
domain_xml_fits() {
	made_from "$definition" || return 1
	variable=yes
	virt_install_options note_variable
	[ -z "$variable" ] || return 1
	[ "$domain_xml" ] || domain_xml=$(cat domain.xml)
	sum_domain_xml && [ "$stamp" = "$domain_sum" ]
}

# look_at_domain_xml: so that less is left to do in provide_domain_xml
look_at_domain_xml() {
	[ "$domain_state" ] || [ "$install_pid" ] || domain_xml_fits || :
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

# put_secret PLACEHOLDER PASSWORD: into domain_xml, for no process list shows what the shell itself does
put_secret() {
	case $domain_xml in
		*"$1"*)
			escape "$2"
			domain_xml=${domain_xml%%"$1"*}$escaped${domain_xml#*"$1"}
			;;
	esac
}

# sum_domain_xml: of $domain_xml and what it depends on beyond the definition, in $domain_sum
sum_domain_xml() {
	sum_paths='' number=0 facts=$volume_facts
	each_volume note_path
	[ "$summed" != "$sum_paths$domain_xml" ] || return 0
	summed=''
	domain_sum=$(print_word "$libvirt_uri" "$sum_paths" "$domain_xml" | cksum) || return 1
	domain_sum=${domain_sum%% *}-${domain_sum#* }
	summed=$sum_paths$domain_xml
}

note_path() {
	next_volume
	sum_paths=$sum_paths$path$nl
}

make_domain_xml() {
	if [ "$install_pid" ] || ! take_answer; then
		end_virt_install
		unescape_twice
		give_answer
	fi
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

# end_virt_install: its answer in $domain_xml, whether it has begun or not
end_virt_install() {
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
	sum_domain_xml || die 'cksum failed'
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
