#!/usr/bin/env bash
# Installs the programs that the tests run and that are not there yet: Debian
# packages, and packages from npm. Does nothing, at once, if all is there.
# More can be named as PROGRAM=PACKAGE. Starts no service; Postfix stays without a configuration.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# shellcheck disable=SC2034
me=test-deps
# shellcheck source-path=SCRIPTDIR/..
. hack/debian.sh

mapfile -t packages < <(
  lacking gcc=gcc curl=curl openssl=openssl python3=python3 swaks=swaks msmtp=msmtp postfix=postfix \
    dovecot=dovecot-core node=nodejs npm=npm knotd=knot unbound=unbound ip=iproute2 nmap=nmap testssl=testssl.sh \
    gnutls-cli=gnutls-bin strace=strace mkfs.ext4=e2fsprogs mkfs.xfs=xfsprogs mount=mount setpriv=util-linux \
    chromium=chromium zbarimg=zbar-tools pdftotext=poppler-utils perl=perl systemd-nspawn=systemd-container rpm=rpm dpkg=dpkg munpack=mpack ripmime=ripmime reformime=maildrop "$@"
  # Readers of mail in Perl, what swaks needs for TLS, gcc for the race detector, python3-dkim for Ed25519,
  # and the libraries of the programs that are only unpacked.
  not_installed libc6-dev ca-certificates libmime-tools-perl libemail-mime-perl libnet-ssleay-perl libio-socket-ssl-perl python3-dkim python3-nacl python3-botocore \
    libevent-2.1-7 libdb5.3 libgnutls-dane0 libidn12 libnsl2 libpam0g
)
install_packages "${packages[@]}"

# Mail servers other than Postfix cannot be installed beside it: they are unpacked.
# So is Prometheus, of which promtool is wanted and no service.
unpack_packages "${XDG_CACHE_HOME:-$HOME/.cache}/printer-relay/debian" opensmtpd exim4-daemon-light prometheus

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Each folder's lock file says which versions, and their hashes.
for folder in test/interop/clients test/interop/oauth test/interop/iam test/interop/ses test/vendorapi/prism test/mailreaders/readers test/console/browser; do
  if ! cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed-lock"; then
    echo "test-deps: installing npm packages of $folder"
    npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund >"$log" 2>&1 || {
      cat "$log" >&2
      echo "test-deps: npm ci failed in $folder" >&2
      exit 1
    }
    cp "$folder/package-lock.json" "$folder/node_modules/.installed-lock"
  fi
done
echo "test-deps: all there"
