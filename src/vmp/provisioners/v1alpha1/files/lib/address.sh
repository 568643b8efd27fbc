# The address of the guest: given, printed by a command of the user's, or asked of libvirt by the MAC addresses.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

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
	address_macs=$(printf '%s' "$address_answer" | sed -n 's/^address-macs .* \([0-9a-f:]\{17\}\) *$/\1/p')
	address_reasons='the domain has no network interface'
	[ -z "$address_macs" ] ||
		address_reasons="$(address_reason lease)$nl$(address_reason agent)$nl$(address_reason arp)"
	return 1
}

ask_leases() {
	mark address-leases
	queue net-dhcp-leases "--network=$1"
}

# address_reason SOURCE: why it gave no address
address_reason() {
	printf '%s' "$address_answer" | awk -v source="$1" '
		$1 == "address-" source && $2 == "error" { error = substr($0, length($1) + 8) }
		$1 == "address-" source && $2 != "error" { seen = seen " " $NF }
		END { print source ": " (error != "" ? error : seen != "" ? "no usable address among" seen : "nothing known of its MAC address") }'
}
