#!/bin/sh
# Runs before the files go: on Debian (remove, upgrade ...) and on Red Hat's
# families (0 at a removal, 1 at an upgrade).
set -e
case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
  systemctl disable --now printer-relay.service
else
  systemctl disable printer-relay.service >/dev/null 2>&1 || true
fi
