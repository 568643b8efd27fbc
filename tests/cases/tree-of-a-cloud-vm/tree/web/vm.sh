# shellcheck shell=sh disable=SC2034
# What this VM is: the facts from which the scripts in lib/ work. Written by vmp; change the registry instead.
# Every value is quoted data and is never evaluated. A list is a function that calls "$@" with the facts of each
# element.

vm_name='web'
node_name='far'
libvirt_uri='qemu+ssh://admin@node.example:2222/system?keyfile=/home/me/id'
domain_name='web'
domain_uuid='688fa021-cea8-81fc-bb11-05a262a3b8b8'
domain_autostart=''
secrets_file=''

# the image, downloaded to image_path; no path: no volume is made from it
image_reference='debian:12'
image_path='.images/debian-12.qcow2'
image_url='https://example.org/debian-12.qcow2.xz'
image_archive_type='xz'
image_archive_path=''
image_checksum_algorithm='sha512'
image_checksum_value=''
image_checksum_url='https://example.org/SHA512SUMS'

# the cloud-init seed, made from the documents in its .d directory; no path: no cloud-init
seed_path='seed.iso'

# how the guest is reached
ssh_enabled='yes'
ssh_password_file='ssh-password'
node_ssh_host='node.example'
node_ssh_user='admin'
node_ssh_port='2222'
node_ssh_command=''
node_ssh_keyfile='/home/me/id'
node_ssh_no_verify=''
node_ssh_shared='yes'

# knobs: make's command line and the environment win over the registry
[ "${V1ALPHA1_SSH_USER+set}" ] || V1ALPHA1_SSH_USER='debian'

# the pools that belong to this VM: name, directory, deletion policy
each_pool() {
	"$@" 'web-pool' '/var/lib/libvirt/images/web-pool' 'Delete' || return
}
# its volumes, in the order to create: pool, name, format, deletion policy, capacity, and what fills it
each_volume() {
	"$@" 'default' 'debian-12.qcow2' 'qcow2' 'Retain' '' 'upload' '.images/debian-12.qcow2' || return
	"$@" 'web-pool' 'root' 'qcow2' 'Delete' '20G' 'backing' 'default' 'debian-12.qcow2' 'qcow2' || return
	"$@" 'web-pool' 'seed.iso' 'raw' 'Delete' '' 'upload' 'seed.iso' || return
	"$@" 'web-pool' 'data' 'qcow2' 'Retain' '1GiB' 'blank' || return
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
	"$@" '52:85:d4:4b:71:cd' || return
}
# options of ssh, before all defaults
ssh_options() {
	"$@"
}
# the domain, as virt-install is told
virt_install_options() {
	"$@" \
		'--name=web' \
		'--uuid=688fa021-cea8-81fc-bb11-05a262a3b8b8' \
		'--memory=2048' \
		'--disk=vol=web-pool/root,bus=virtio' \
		'--disk=vol=web-pool/seed.iso,readonly' \
		'--network=network=default,mac=52:85:d4:4b:71:cd' \
		'--graphics=none' \
		'--import'
}
