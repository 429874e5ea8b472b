#!/bin/sh
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
#
# Makes a bootable Debian in a folder of its own: build_image.sh FOLDER
#   vmlinuz, initrd.img        for qemu's -kernel and -initrd
#   root.ext4                  the root filesystem; it takes the address that qemu's user network expects
#   ssh_host_ed25519_key.pub   by which ssh knows the machine
# FOLDER appears only when all of it is there.
set -eu

folder=$1
[ ! -d "$folder" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "build_image.sh: only root can make the image (mmdebstrap keeps the files' owners)" >&2; exit 1; }

work=$folder.building
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

# Under emulation each service and each megabyte of initrd costs seconds: only what disk, network and sshd need.
mmdebstrap --variant=minbase --quiet \
    --include=linux-image-cloud-amd64,initramfs-tools,systemd-sysv,udev,dbus,openssh-server,python3 \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"' \
    --essential-hook='echo MODULES=list > "$1/etc/initramfs-tools/conf.d/modules"' \
    --essential-hook='printf "%s\n" virtio_pci virtio_blk ext4 > "$1/usr/share/initramfs-tools/modules.d/vm"' \
    --customize-hook='printf "[Match]\nName=en*\n[Network]\nAddress=10.0.2.15/24\n" > "$1/etc/systemd/network/vm.network"' \
    --customize-hook='chroot "$1" systemctl --quiet enable systemd-networkd' \
    --customize-hook='chroot "$1" systemctl --quiet mask systemd-networkd-wait-online systemd-logind systemd-binfmt' \
    --customize-hook='chroot "$1" systemctl --quiet mask e2scrub_reap apt-daily.timer apt-daily-upgrade.timer' \
    --customize-hook='echo vm > "$1/etc/hostname"' \
    bookworm "$work/root"

cp "$work"/root/boot/vmlinuz-* "$work/vmlinuz"
cp "$work"/root/boot/initrd.img-* "$work/initrd.img"
cp "$work/root/etc/ssh/ssh_host_ed25519_key.pub" "$work/"
mke2fs -q -t ext4 -d "$work/root" "$work/root.ext4" 1200M
rm -rf "$work/root"
mv -T "$work" "$folder"
