#!/bin/sh
# machine.sh LOWER DIR: process 1 of a machine, in namespaces of its own (unshare in machine.mjs): a writable layer in DIR over
# the folders LOWER, a network of its own with nothing but its loopback, and units.pl in the place of systemd.
set -eu
lower=$1 dir=$2
root=$dir/root
mount --make-rprivate /
mount -t overlay overlay -o "volatile,lowerdir=$lower,upperdir=$dir/upper,workdir=$dir/work" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
mkdir -p "$root/run/lock" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -sf pts/ptmx "$root/dev/ptmx"
ip link set lo up
hostname tollgate-test
[ -s "$root/etc/machine-id" ] || tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 BOOT=1 chroot "$root" /usr/bin/perl /usr/lib/units.pl
