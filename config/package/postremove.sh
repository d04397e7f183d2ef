#!/bin/sh
# Runs when the files are gone. Mail that was accepted, and what the administrator
# wrote, is never removed by a package, not by a purge either.
set -e
[ ! -d /run/systemd/system ] || systemctl daemon-reload
case "$1" in
purge | 0)
  if [ -d /var/lib/printer-relay ]; then
    echo "printer-relay: /var/lib/printer-relay is left as it is: it may hold mail. Remove it, and /etc/printer-relay, when nothing in them is needed." >&2
  fi
  ;;
esac
