# shellcheck shell=sh
# The VMs of this fleet: the names of their directories. Written by vmp; every value is quoted data.

# the VMs, in the order of the registry
each_vm() {
	"$@" 'web' || return
	"$@" 'it'\''s $(HOME) #1' || return
}
