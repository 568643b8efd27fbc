# The address of the guest: given, printed by a command of the user's, or asked of libvirt by the MAC addresses.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

# find_address: in $address; false with the reasons in $address_reasons
find_address() {
	address=$V1ALPHA1_SSH_HOST
	[ -z "$address" ] || return 0
	if [ "$V1ALPHA1_IP_CMD" ]; then
		run_ip_cmd
		return
	fi
	ask_address
}

# find_group_bound: as find_bound does, but with all processes that a command has started, in $group_bound; not where a
# terminal is, on which they may have a question
find_group_bound() {
	find_bound
	group_bound=$bound
	{ true </dev/tty; } 2>/dev/null || group_bound=${bound:+timeout -k 5}
}

run_ip_cmd() {
	find_group_bound
	bound=$group_bound
	address_code=0
	address=$(bounded "$V1ALPHA1_COMMAND_TIMEOUT_SECS" sh -c "$V1ALPHA1_IP_CMD") || address_code=$?
	unset bound
	address=${address%%"$nl"*}
	address_reasons='V1ALPHA1_IP_CMD printed nothing'
	[ "$address_code" -eq 0 ] || address_reasons="V1ALPHA1_IP_CMD failed with exit code $address_code"
	! timed_out "$address_code" ||
		address_reasons="V1ALPHA1_IP_CMD took longer than $V1ALPHA1_COMMAND_TIMEOUT_SECS seconds and was ended"
	case $address in
		*[[:space:]]*)
			address_reasons="V1ALPHA1_IP_CMD printed '$address', which is no address"
			return 1
			;;
	esac
	[ "$address_code" -eq 0 ] && [ "$address" ]
}

ask_address() {
	address_answer='' domain_state=''
	mark state
	queue domstate "--domain=$domain_uuid"
	mark address-macs
	queue domiflist "--domain=$domain_uuid"
	each_used_network ask_leases
	for source in lease agent arp; do
		mark "address-$source"
		queue domifaddr "--domain=$domain_uuid" "--source=$source" --full
	done
	run_batch || {
		[ "$ended" ] || {
			address_reasons=$failure
			return 1
		}
	}
	case $domain_state in
		'')
			address_reasons='the domain does not exist'
			return 1
			;;
		running | idle | blocked | paused) ;;
		*)
			address_reasons="the domain is $domain_state"
			return 1
			;;
	esac
	# A MAC address can have several leases: a guest that was made anew comes with another client id, and its
	# predecessor's lease has not expired. The one that expires last is the one in use; domifaddr does not tell it.
	address=$(printf '%s' "$address_answer" | awk '
		function usable(ip) {
			return ip ~ /^[0-9a-f.:]+$/ && ip !~ /^(127\.|169\.254\.|0\.|fe[89ab][0-9a-f]:|::1$|::$|ff)/
		}
		$1 == "address-macs" { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9a-f][0-9a-f](:[0-9a-f][0-9a-f])+$/) macs[++count] = $i; next }
		$1 == "address-leases" {
			ip = tolower($6); sub(/\/.*/, "", ip)
			key = "address-lease " $5 " " tolower($4)
			if (usable(ip) && $2 $3 > expiry[key]) { expiry[key] = $2 $3; seen[key] = ip }
			next
		}
		$1 ~ /^address-/ {
			for (i = 3; i < NF; i++) if ($i == "ipv4" || $i == "ipv6") {
				ip = tolower($(i + 1)); sub(/\/.*/, "", ip)
				key = $1 " " $i " " tolower($(i - 1))
				if (usable(ip) && !(key in seen)) seen[key] = ip
			}
		}
		END {
			split("ipv4 ipv6", families, " "); sources = split("address-lease address-agent address-arp", source, " ")
			for (f = 1; f <= 2; f++) for (m = 1; m <= count; m++) for (s = 1; s <= sources; s++) {
				key = source[s] " " families[f] " " macs[m]
				if (key in seen) { print seen[key]; exit }
			}
		}')
	[ -z "$address" ] || return 0
	address_reasons=$(address_report)
	return 1
}

ask_leases() {
	mark address-leases
	queue net-dhcp-leases "--network=$1"
}

# address_report: what each source answered for each MAC address of the domain
address_report() {
	printf '%s' "$address_answer" | awk '
		$1 == "address-macs" { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9a-f][0-9a-f](:[0-9a-f][0-9a-f])+$/) macs[++count] = $i; next }
		$1 !~ /^address-(lease|agent|arp)$/ { next }
		{ source = substr($1, 9) }
		/ error .*wrong nlmsg len/ { delete error[source]; next } # what libvirt says when the ARP table is empty
		$2 == "error" { error[source] = substr($0, length($1) + 8); next }
		{ for (i = 3; i < NF; i++) if ($i == "ipv4" || $i == "ipv6") seen[source " " tolower($(i - 1))] = seen[source " " tolower($(i - 1))] " " $(i + 1) }
		END {
			if (!count) { print "the domain has no network interface"; exit }
			split("lease agent arp", sources, " ")
			for (s = 1; s <= 3; s++) {
				if (error[sources[s]] != "") { print sources[s] ": " error[sources[s]]; continue }
				for (m = 1; m <= count; m++) {
					key = sources[s] " " macs[m]
					print sources[s] ": " (key in seen ? macs[m] " has" seen[key] : "nothing known of MAC address " macs[m])
				}
			}
		}'
}
