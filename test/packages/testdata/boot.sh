#!/usr/bin/env bash
# Boots systemd in a container whose root is this machine's, with all that is written
# kept in memory and then forgotten, without a network but loopback; runs inside.sh
# there, and ends with its status. Nothing of the machine's own is started or changed.
# Usage: boot.sh FOLDER   (as root, in a mount namespace of its own; FOLDER: see inside.sh)
set -euo pipefail
folder=$(realpath "$1")
mount -t tmpfs -o size=512m,mode=755 tmpfs "$folder/boot"
mkdir "$folder/boot/upper" "$folder/boot/work" "$folder/boot/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/boot/upper,workdir=$folder/boot/work" "$folder/boot/root"
root=$folder/boot/root
mkdir -p "$root"/{proc,sys,dev,run,tmp} "$root/packages"
cp "$folder"/*.deb "$folder"/*.rpm "$folder/inside.sh" "$folder/standalone.md" "$root/packages"
cat >"$root/etc/systemd/system/packages-test.service" <<'UNIT'
[Unit]
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=/bin/bash /packages/inside.sh
StandardOutput=append:/packages/log
StandardError=append:/packages/log
TimeoutStartSec=300
UNIT
# A machine id of its own: the journal is not the machine's.
rm -f "$root/etc/machine-id" && : >"$root/etc/machine-id"
status=0
systemd-nspawn --quiet --directory "$root" --machine "packages-$$" --private-network --register=no --keep-unit --link-journal=no \
  --boot systemd.unit=packages-test.service systemd.show_status=no </dev/null >"$folder/console" 2>&1 || status=$?
cat "$root/packages/log"
((status == 0)) || tail -n 20 "$folder/console"
exit "$status"
