#!/bin/sh
# Runs behind the files, on Debian (configure, and the version before or none) and
# on Red Hat's families (1 at the first installation, 2 at an upgrade).
set -e

systemd-sysusers printer-relay.conf
# Manifests hold the copiers' logins and the keys of providers.
chown root:printer-relay /etc/printer-relay
chmod 0750 /etc/printer-relay

first=
case "$1" in
configure) [ -n "$2" ] || first=yes ;;
1) first=yes ;;
2) ;;
*) exit 0 ;; # a failed removal or upgrade is taken back: all is as it was
esac

# Whether new services are enabled is the distribution's to say: Debian does, Fedora does not.
[ -z "$first" ] || systemctl preset printer-relay.service >/dev/null 2>&1 || true
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if [ -z "$first" ]; then
  systemctl try-restart printer-relay.service
elif systemctl --quiet is-enabled printer-relay.service; then
  systemctl start printer-relay.service
fi
