# The address of the guest: given, printed by a command of the user's, or asked of libvirt by the MAC addresses.

# find_address: in $address; false with the reasons in $address_reasons
find_address() {
	address=$V1ALPHA1_SSH_HOST
	[ -z "$address" ] || return 0
	if [ "$V1ALPHA1_IP_CMD" ]; then
		address_code=0
		address=$(sh -c "$V1ALPHA1_IP_CMD") || address_code=$?
		address=${address%%"$nl"*}
		address_reasons="V1ALPHA1_IP_CMD printed nothing (exit code $address_code)"
		[ "$address_code" -eq 0 ] && [ "$address" ]
		return
	fi
	ask_address
}

ask_address() {
	address_answer='' domain_state=''
	mark state
	queue domstate "--domain=$domain_uuid"
	mark address-macs
	queue domiflist "--domain=$domain_uuid"
	for source in lease agent arp; do
		mark "address-$source"
		queue domifaddr "--domain=$domain_uuid" "--source=$source" --full
	done
	address_errors=''
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
	address=$(printf '%s' "$address_answer" | awk '
		function usable(ip) {
			return ip !~ /^(127\.|169\.254\.|0\.|fe[89ab][0-9a-f]:|::1$|::$|ff)/
		}
		$1 == "address-macs" { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9a-f][0-9a-f](:[0-9a-f][0-9a-f])+$/) macs[++count] = $i; next }
		$1 ~ /^address-/ {
			for (i = 3; i < NF; i++) if ($i == "ipv4" || $i == "ipv6") {
				ip = tolower($(i + 1)); sub(/\/.*/, "", ip)
				# the last lease is the newest; elsewhere the first address is the main one
				key = $1 " " $i " " tolower($(i - 1))
				if (usable(ip) && (!(key in seen) || $1 == "address-lease")) seen[key] = ip
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
	address_macs=$(printf '%s' "$address_answer" | sed -n 's/^address-macs .* \([0-9a-f:]\{17\}\) *$/\1/p')
	if [ -z "$address_macs" ]; then
		address_reasons='the domain has no network interface'
	else
		address_reasons='lease: no DHCP lease of libvirt for its MAC address'
		case $address_answer in
		*"${nl}address-lease "* | 'address-lease '*) address_reasons='lease: no usable address' ;;
		esac
		address_reasons="$address_reasons${nl}agent: ${address_agent_error:-no usable address}${nl}arp: no entry of the node for its MAC address"
	fi
	return 1
}
