#!/usr/bin/env bash
# Installs the programs that the tests run and that are not there yet: Debian
# packages, and nodemailer from npm. Does nothing, at once, if all is there.
# Starts no service; Postfix stays without a configuration.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# program -> package
declare -A wanted=(
  [gcc]=gcc [curl]=curl [openssl]=openssl [python3]=python3
  [swaks]=swaks [msmtp]=msmtp [postfix]=postfix [dovecot]=dovecot-core
  [node]=nodejs [npm]=npm
)
packages=()
for program in "${!wanted[@]}"; do
  command -v "$program" >/dev/null || packages+=("${wanted[$program]}")
done
# What swaks needs for TLS, and gcc for the race detector.
if command -v dpkg-query >/dev/null; then
  for package in libc6-dev ca-certificates libnet-ssleay-perl libio-socket-ssl-perl; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *" installed" ]] || packages+=("$package")
  done
fi

install_packages() {
  local sudo=()
  if ! command -v apt-get >/dev/null; then
    echo "test-deps: the tests need these Debian packages, or what your system calls them: $*" >&2
    return 1
  fi
  if ((EUID != 0)); then
    command -v sudo >/dev/null || { echo "test-deps: as root, run: apt-get install $*" >&2; return 1; }
    sudo=(sudo)
  fi
  echo "test-deps: installing $*"
  # Nothing that is installed may start, nor ask.
  local policy=/usr/sbin/policy-rc.d own_policy=
  if [[ ! -e $policy ]]; then
    own_policy=yes
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
    "${sudo[@]}" chmod 755 "$policy"
  fi
  local status=0
  {
    echo 'postfix postfix/main_mailer_type select No configuration' | "${sudo[@]}" debconf-set-selections &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
  } >"$log" 2>&1 </dev/null || status=$?
  [[ -z $own_policy ]] || "${sudo[@]}" rm -f "$policy"
  ((status == 0)) || { cat "$log" >&2; echo "test-deps: could not install $*" >&2; }
  return "$status"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ((${#packages[@]} > 0)); then
  install_packages "${packages[@]}"
fi

# The lock file says which version, and its hash.
clients=test/interop/clients
if ! cmp -s "$clients/package-lock.json" "$clients/node_modules/.installed-lock"; then
  echo "test-deps: installing nodemailer"
  npm ci --prefix "$clients" --ignore-scripts --no-audit --no-fund >"$log" 2>&1 || {
    cat "$log" >&2
    echo "test-deps: npm ci failed in $clients" >&2
    exit 1
  }
  cp "$clients/package-lock.json" "$clients/node_modules/.installed-lock"
fi
echo "test-deps: all there"
