# For the node, which downloads the image: lib/ runs there on this file, in ~/.cache/vmp/UUID (domain_uuid), to which
# paths are relative. No domain is made; its disks below say which volumes no guest writes to.
# shellcheck shell=sh disable=SC2034
# What this VM is: the facts from which the scripts in lib/ work. Written by vmp; change the registry instead.
# Every value is quoted data and is never evaluated. A list is a function that calls "$@" with the facts of each
# element.

vm_name='web on it'\''s $(far)'
node_name='it'\''s $(far)'
libvirt_uri='qemu+unix:///system?socket=/run/it'\''s/sock'
domain_name='web.example'
domain_uuid='846c93bb-a031-8d8e-bee5-92af0be7fa58'
domain_autostart=''
secrets_file=''

# the image, downloaded to image_path; no path: no volume is made from it
image_reference='debian:12'
image_path='../images/a684e6aa1ba034b3/it'\''s $HOME 12.qcow2'
image_url='https://example.org/debian-12.qcow2.xz?a='\''$(id)'\'''
image_archive_type='xz'
image_archive_path=''
image_checksum_algorithm='sha512'
image_checksum_value=''
image_checksum_url='https://example.org/SHA512SUMS'

# the cloud-init seed, made from the documents in its .d directory; no path: no cloud-init
seed_path=''

# how the guest is reached
ssh_enabled=''
ssh_password_file=''
node_ssh_host=''
node_ssh_user=''
node_ssh_port=''
node_ssh_command=''
node_ssh_keyfile=''
node_ssh_no_verify=''
node_ssh_shared=''

# knobs: make's command line and the environment win over the registry

# the pools that belong to this VM: name, directory, deletion policy
each_pool() {
	"$@" 'bases' '/srv/bases' 'Retain' || return
}
# its volumes, in the order to create: pool, name, format, deletion policy, capacity, and what fills it
each_volume() {
	"$@" 'bases' 'it'\''s $HOME 12.qcow2' 'qcow2' 'Retain' '' 'upload' '../images/a684e6aa1ba034b3/it'\''s $HOME 12.qcow2' || return
	"$@" 'default' 'own' 'qcow2' 'Delete' '4G' 'upload' '../images/a684e6aa1ba034b3/it'\''s $HOME 12.qcow2' || return
}
# pools that are only used
each_used_pool() {
	"$@" 'default' || return
}
# libvirt networks that are used
each_used_network() {
	:
}
# MAC addresses that are derived from the names of node, VM and interface
each_derived_mac() {
	:
}
# options of ssh, before all defaults
ssh_options() {
	"$@"
}
# the domain, as virt-install is told
virt_install_options() {
	"$@" \
		'--disk=vol=bases/it'\''s $HOME 12.qcow2,readonly=on' \
		'--disk=vol=default/own,device=cdrom'
}
