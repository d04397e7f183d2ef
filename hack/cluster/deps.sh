#!/usr/bin/env bash
# Installs the Debian packages that the cluster's node runs, and swaks for the copier
# beside it, where they are not there yet. Does nothing, at once, if all is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
# shellcheck disable=SC2034
me=cluster-deps
# shellcheck source-path=SCRIPTDIR/../..
. hack/debian.sh

mapfile -t packages < <(
  lacking containerd=containerd runc=runc /usr/lib/cni/bridge=containernetworking-plugins nft=nftables \
    ip=iproute2 openssl=openssl swaks=swaks
  not_installed ca-certificates
)
install_packages "${packages[@]}"
echo "$me: all there"
