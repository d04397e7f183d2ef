#!/usr/bin/env bash
# The life of the packages on a machine that systemd runs: installed, configured,
# upgraded, hardened, removed. /packages holds old.deb, new.deb, new.rpm and the page
# docs/standalone.md, whose commands an administrator types.
set -euo pipefail
cd /packages
export HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

fail() {
  echo "FAILED: $*"
  systemctl --no-pager status printer-relay.service || true
  journalctl --no-pager -n 40 -u printer-relay.service || true
  exit 1
}
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR
within() { # within SECONDS COMMAND...: it comes true
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || fail "not within the time: $*"
    sleep 0.1
  done
}
ready() { curl -fsS http://127.0.0.1:8080/readyz; }
state() { systemctl show --property "$1" --value printer-relay.service; }
scan() { swaks --server 127.0.0.1:25 --from scanner@copier.example.com --to anna@example.com --header "Subject: $1" --silent 3; }
arrived() { find /var/lib/printer-relay -path '*/mail/new/*' -exec grep -qs "^Subject: $1" {} + -print -quit | grep -q .; }

# This machine may have a policy that nothing is started; here there is none.
rm -f /usr/sbin/policy-rc.d

echo "deb: installed, and nothing runs without a manifest"
dpkg --install old.deb
[[ $(state UnitFileState) == enabled ]]
[[ $(state ActiveState) == inactive ]]
[[ $(stat -c '%U:%G %a' /etc/printer-relay) == "root:printer-relay 750" ]]

echo "deb: the commands of docs/standalone.md, and a test scan"
page=$(awk '/^```/ {inside = !inside; blocks += inside; next} inside && blocks == 2' standalone.md)
grep -q '^printer-relay send ' <<<"$page"
timeout 120 bash -euo pipefail -c "$page"
[[ $(stat -c '%U:%G %a' /etc/printer-relay/relay.yaml) == "root:printer-relay 640" ]]

echo "deb: port 25, a scan"
sed -i 's/port: 2525/port: 25/' /etc/printer-relay/relay.yaml
within 30 scan zeroth
[[ $(stat -c '%U %a' /var/lib/printer-relay) == "printer-relay 700" ]]
[[ $(ps -o user= -p "$(state MainPID)") == printer* ]]
scan first
within 30 arrived first
# What holds mail is nobody else's to read.
[[ -z $(find /var/lib/printer-relay -perm /077 -type f) ]]

echo "deb: a restart after a kill"
old=$(state MainPID)
kill -9 "$old"
changed() { [[ $(state MainPID) != "$old" && $(state MainPID) != 0 ]] && ready; }
within 30 changed

echo "deb: upgraded while it runs"
old=$(state MainPID)
dpkg --install new.deb
within 30 changed
printer-relay --version | grep -F "$(dpkg-query -W -f '${Version}' printer-relay | sed 's/~.*//')" || fail "the version of the package is not the program's"
scan second
within 30 arrived second

echo "what the program may"
systemd-analyze verify printer-relay.service
systemd-analyze security --no-pager printer-relay.service | tail -n 1
systemd-analyze security --no-pager --threshold=20 printer-relay.service >/dev/null || fail "systemd-analyze security finds an exposure above 2.0"
grep -q '^CapEff:[[:space:]]*0000000000000400$' "/proc/$(state MainPID)/status"   # CAP_NET_BIND_SERVICE
grep -q '^NoNewPrivs:[[:space:]]*1$' "/proc/$(state MainPID)/status"
grep -q '^Seccomp:[[:space:]]*2$' "/proc/$(state MainPID)/status"
# Nothing that it does is refused by that: the audit of a refused call would be EPERM in its log.
! journalctl --no-pager -u printer-relay.service | grep -iE 'operation not permitted|permission denied|bad system call' || fail "the unit forbids what the program does"

echo "deb: completion, removal, purge: mail stays"
bash -c '. /usr/share/bash-completion/completions/printer-relay; complete -p printer-relay' >/dev/null
dpkg --remove printer-relay
[[ ! -e /usr/bin/printer-relay ]]
! pgrep -x printer-relay
dpkg --purge printer-relay 2>purge.log
grep -q '/var/lib/printer-relay is left' purge.log
arrived second && [[ -e /etc/printer-relay/relay.yaml ]]

echo "rpm: installed, where new services are not enabled by themselves"
mkdir -p /etc/systemd/system-preset
echo 'disable *' >/etc/systemd/system-preset/00-as-fedora.preset
rpm --initdb
rpm --install --nodeps new.rpm
[[ $(state UnitFileState) == disabled ]]
[[ $(state ActiveState) == inactive ]]
systemctl enable --now printer-relay.service
within 30 ready
scan third
within 30 arrived third
old=$(state MainPID)
rpm --upgrade --nodeps --force new.rpm
within 30 changed
rpm --erase --nodeps printer-relay
[[ ! -e /usr/bin/printer-relay && ! -e /usr/lib/systemd/system/printer-relay.service ]]
! pgrep -x printer-relay
arrived third
echo "all is well"
