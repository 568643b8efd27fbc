# shellcheck shell=sh disable=SC2034
# What this VM is: the facts from which the scripts in lib/ work. Written by vmp; change the registry instead.
# Every value is quoted data and is never evaluated. A list is a function that calls "$@" with the facts of each
# element.

vm_name='vm'
node_name='here'
libvirt_uri='qemu:///system'
domain_name='vm'
domain_uuid='b5c8b4d7-8ded-8889-9c1b-1adf43d24001'
domain_autostart=''
secrets_file=''

# the image, downloaded to image_path; no path: no volume is made from it
image_reference='disk:1'
image_path=''
image_url='https://example.org/1.img'
image_archive_type=''
image_archive_path=''
image_checksum_algorithm=''
image_checksum_value=''
image_checksum_url=''

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
	:
}
# its volumes, in the order to create: pool, name, format, deletion policy, capacity, and what fills it
each_volume() {
	:
}
# pools that are only used
each_used_pool() {
	:
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
		'--name=vm' \
		'--uuid=b5c8b4d7-8ded-8889-9c1b-1adf43d24001' \
		'--disk=size=2' \
		'--import'
}
