# shellcheck shell=sh disable=SC2034
# What this VM is: the facts from which the scripts in lib/ work. Written by vmp; change the registry instead.
# Every value is quoted data and is never evaluated. A list is a function that calls "$@" with the facts of each
# element.

vm_name='web'
node_name='it'\''s $(far)'
libvirt_uri='qemu+ssh://admin@node.example:2222/system?keyfile=/home/me/id&socket=/run/it'\''s/sock'
domain_name='web.example'
domain_uuid='846c93bb-a031-8d8e-bee5-92af0be7fa58'
domain_autostart=''
secrets_file='secrets.sh'

# the image, downloaded to image_path; no path: no volume is made from it
image_reference='debian:12'
image_path=''
image_url='https://example.org/debian-12.qcow2.xz?a='\''$(id)'\'''
image_archive_type='xz'
image_archive_path=''
image_checksum_algorithm='sha512'
image_checksum_value=''
image_checksum_url='https://example.org/SHA512SUMS'
# the node downloads it, and fills the volumes that say so, as on-node.sh tells it
image_on_node='yes'

# the cloud-init seed, made from the documents in its .d directory; no path: no cloud-init
seed_path='seed.iso'

# how the guest is reached
ssh_enabled='yes'
ssh_password_file=''
node_ssh_host='node.example'
node_ssh_user='admin'
node_ssh_port='2222'
node_ssh_command=''
node_ssh_keyfile='/home/me/id'
node_ssh_no_verify=''
node_ssh_shared='yes'

# knobs: make's command line and the environment win over the registry
[ "${V1ALPHA1_STOP_TIMEOUT_SECS+set}" ] || V1ALPHA1_STOP_TIMEOUT_SECS='5'

# the pools that belong to this VM: name, directory, deletion policy
each_pool() {
	"$@" 'bases' '/srv/bases' 'Retain' || return
	"$@" 'web' '/var/lib/libvirt/images/web' 'Delete' || return
}
# its volumes, in the order to create: pool, name, format, deletion policy, capacity, and what fills it
each_volume() {
	"$@" 'bases' 'it'\''s $HOME 12.qcow2' 'qcow2' 'Retain' '' 'node' '.images/it'\''s $HOME 12.qcow2' || return
	"$@" 'default' 'own' 'qcow2' 'Delete' '4G' 'node' '.images/it'\''s $HOME 12.qcow2' || return
	"$@" 'web' 'root' 'qcow2' 'Delete' '20G' 'backing' 'bases' 'it'\''s $HOME 12.qcow2' 'qcow2' || return
	"$@" 'web' 'seed.iso' 'raw' 'Delete' '' 'upload' 'seed.iso' || return
	"$@" 'web' 'tools.iso' 'raw' 'Delete' '' 'upload' 'tools.iso' || return
}
# pools that are only used
each_used_pool() {
	"$@" 'default' || return
}
# libvirt networks that are used
each_used_network() {
	"$@" 'default' || return
}
# MAC addresses that are derived from the names of node, VM and interface
each_derived_mac() {
	"$@" '52:cf:75:43:9c:4f' || return
}
# options of ssh, before all defaults
ssh_options() {
	"$@"
}
# the domain, as virt-install is told
virt_install_options() {
	"$@" \
		'--name=web.example' \
		'--uuid=846c93bb-a031-8d8e-bee5-92af0be7fa58' \
		'--memory=2048' \
		'--disk=vol=web/root,bus=virtio' \
		'--disk=vol=default/own,device=cdrom' \
		'--disk=vol=web/seed.iso,readonly' \
		'--network=network=default,mac=52:cf:75:43:9c:4f' \
		'--graphics=type=vnc,passwd=secret-cda4032eb4d48656622b9195a0acefe0' \
		'--import'
}
