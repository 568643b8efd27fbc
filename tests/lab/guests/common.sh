# shellcheck shell=bash
# shellcheck disable=SC2034 # the variables are for those who source this
# What the builders of guests share: the cache, and the kernel of the distribution.

shopt -s inherit_errexit
self=$(realpath "$0")
guests=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
PATH=$PATH:/usr/sbin:/sbin

fail() {
	echo "$(basename "$0"): $*" >&2
	exit 1
}

need_commands() {
	local command
	for command; do
		command -v "$command" >/dev/null ||
			fail "$command is not installed; '$(dirname "$guests")/install build' installs it"
	done
}

# The key of a recipe: its files, the distribution, and the installed packages that go into it.
# What is downloaded is not part of it: it would take the network to know.
recipe_key() {
	local file
	{
		grep -E '^(ID|VERSION_ID|VERSION_CODENAME)=' /etc/os-release
		dpkg-query -W busybox-static dropbear-bin grub-pc-bin 2>/dev/null || :
		for file in "$guests/common.sh" "$self" "$@"; do
			cat "$file"
		done
	} | sha256sum | cut -c 1-12
}

# cached FILE RECIPE...: print the path of FILE in the cache. When it isn't there, build it: run
# `$0 --build OUTPUT` in an empty directory. RECIPE: what it is made from besides $0.
cached() {
	local file=$1 cache name image log lock work
	cache=${VMP_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vmp/guests}
	shift
	name=${file%.*}-$(recipe_key "$@")
	image=$cache/$name.${file##*.} log=$cache/$name.log
	if [[ ! -e $image ]]; then
		mkdir -p "$cache"
		# Two that run at once build one image.
		exec {lock}>"$cache/${file%.*}.lock"
		flock "$lock"
	fi
	if [[ ! -e $image ]]; then
		echo "$(basename "$0"): building $image" >&2
		work=$(mktemp -d "$cache/$name.XXXXXX")
		# shellcheck disable=SC2064 # `work` is gone when the trap runs
		trap "rm -rf ${work@Q}" EXIT
		mkdir "$work/build"
		if ! (cd "$work/build" && "$self" --build "$work/image") >"$log" 2>&1; then
			cat "$log" >&2
			fail "cannot build $file, see above (also in $log)"
		fi
		mv "$work/image" "$image"
	fi
	echo "$image"
}

# Unpack the distribution's kernel for virtual machines: ./kernel/boot/vmlinuz-VERSION and
# ./kernel/lib/modules/VERSION. Prints VERSION.
unpack_kernel() {
	local meta=linux-image-cloud-amd64 image version packages file
	! grep -q '^ID=ubuntu' /etc/os-release || meta=linux-image-virtual
	image=$(apt-cache depends --no-recommends --no-suggests "$meta" |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	[[ -n $image ]] || fail "apt knows no $meta; try 'apt-get update'"
	version=${image#linux-image-}
	packages=("$image")
	# Ubuntu's modules are in a package of their own.
	[[ $meta != linux-image-virtual ]] || packages+=("linux-modules-$version")
	apt-get --quiet --option APT::Sandbox::User=root download "${packages[@]}" >&2
	for file in linux-*.deb; do
		dpkg -x "$file" kernel
	done
	# So that no tool inside a guest needs to know how they are packed.
	find kernel -name '*.ko.zst' -exec zstd --quiet --rm -d {} +
	find kernel -name '*.ko.xz' -exec xz -d {} +
	depmod --basedir "$PWD/kernel" "$version"
	echo "$version"
}

# bootable_disk TREE SIZE OUTPUT: a compressed qcow2 of TREE as ext4 in one partition, booted by
# BIOS through TREE/boot/grub/grub.cfg. Needs neither root nor loop devices: the boot loader is
# put where grub-install would put it, https://www.gnu.org/software/grub/manual/grub/html_node/Images.html
bootable_disk() {
	local tree=$1 size=$2 output=$3 modules=/usr/lib/grub/i386-pc
	truncate --size "$size" disk.raw
	echo 'start=2048, type=83, bootable' | sfdisk --quiet disk.raw
	mke2fs -q -t ext4 -L root -d "$tree" -E offset=$((2048 * 512)) disk.raw \
		"$((($(stat --format %s disk.raw) - 2048 * 512) / 1024))k"
	grub-mkimage --format i386-pc --prefix '(hd0,msdos1)/boot/grub' --output core.img \
		biosdisk part_msdos ext2 normal configfile linux serial terminal test
	dd if="$modules/boot.img" of=disk.raw bs=440 count=1 conv=notrunc status=none
	dd if=core.img of=disk.raw bs=512 seek=1 conv=notrunc status=none
	qemu-img convert -c -O qcow2 disk.raw "$output"
}
