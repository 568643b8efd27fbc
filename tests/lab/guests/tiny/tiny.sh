# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # read with common.sh, by the builders
# The tiny guest: the distribution's kernel, and all the rest in one initramfs of busybox and
# dropbear. It boots in seconds, also without KVM.

mapfile -t tiny_recipe < <(find "$guests/tiny" -type f | LC_ALL=C sort)

# In this order, with what they depend on. Debian's cloud kernel has no SATA or IDE driver, so
# that neither a seed on the default CD-ROM bus is seen by this guest, like by the real one.
tiny_modules=(
	button evdev qemu_fw_cfg virtio_balloon virtio_pci virtio_rng virtio_blk virtio_net virtio_scsi sd_mod sr_mod
	ext4 isofs vfat nls_ascii nls_utf8 nls_cp437
)

# tiny_initramfs VERSION OUTPUT, with the kernel unpacked in ./kernel
tiny_initramfs() {
	local version=$1 output=$2 root=initramfs module file
	mkdir -p "$root"/{bin,dev,disk,etc,home,lib/modules,mnt,proc,root,run,sys,tmp,usr/bin}
	cp -a "$guests/tiny/root/." "$root"
	cp /bin/busybox /usr/sbin/dropbear /usr/bin/dropbearkey "$root/bin"
	ln -s bin/busybox "$root/init"
	ldd /usr/sbin/dropbear | grep -o '/[^ ]*' | while read -r file; do
		install -D "$file" "$root$file"
	done
	for module in "${tiny_modules[@]}"; do
		modprobe --dirname "$PWD/kernel" --set-version "$version" --show-depends "$module"
	done | sed -n 's/^insmod //p' | awk '!seen[$1]++ { print $1 }' | while read -r file; do
		cp "$file" "$root/lib/modules"
		basename "$file" >>"$root/lib/modules/order"
	done
	(cd "$root" && find . | cpio --quiet --create --format newc --owner 0:0) | gzip >"$output"
}

# The same menu for ISO and disk.
tiny_grub_cfg() {
	cat <<-'END'
		serial --unit=0 --speed=115200
		terminal_input serial console
		terminal_output serial console
		set timeout=0
		menuentry tiny {
			linux /boot/vmlinuz console=tty0 console=ttyS0,115200 quiet panic=10
			initrd /boot/initrd
		}
	END
}
