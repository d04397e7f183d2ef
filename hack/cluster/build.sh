#!/usr/bin/env bash
# Builds the programs of a Kubernetes control plane and node from the Go module
# proxy, at the versions pinned here, and prints the folder that holds them: what
# tests take as KUBEBUILDER_ASSETS. The first time takes some minutes; what was
# built is kept outside the checkout, by what pins it, and by Go's version.
# Usage: build.sh PROGRAM...   (kube-apiserver etcd kubectl kubelet coredns ...)
set -euo pipefail
cd "$(dirname "$0")"
(($# > 0)) || { echo "usage: build.sh PROGRAM..." >&2; exit 2; }

version=v1.37.2
key=$(cat k8s/go.sum etcd/go.sum coredns/go.sum <(go env GOVERSION GOARCH) | sha256sum | cut -c1-16)
bin=${XDG_CACHE_HOME:-$HOME/.cache}/printer-relay/cluster/$key/bin
mkdir -p "$bin"
exec 9>"$bin/../lock" # another checkout may be building the same
flock 9

# A server that does not know its version is taken for a very old one.
stamp="-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37 -X k8s.io/client-go/pkg/version.gitVersion=$version"

build() { # build MODULE LDFLAGS PACKAGE...: all at once, since they share most packages
  local module=$1 ldflags=$2 new=$bin/../new
  shift 2
  (($# > 0)) || return 0
  echo "building $module: $*" >&2
  rm -rf "$new"
  mkdir "$new"
  (cd "$module" && go build -trimpath -ldflags "$ldflags" -o "$new/" "$@")
  mv "$new"/* "$bin" # whole or not at all
  rmdir "$new"
}

kubernetes=()
for program; do
  [[ -x $bin/$program ]] && continue
  case $program in
    etcd)
      build etcd '-s -w' go.etcd.io/etcd/server/v3
      mv "$bin/server" "$bin/etcd"
      ;;
    coredns) CGO_ENABLED=0 build coredns '-s -w' . ;; # static: it runs in an image of its own
    *) kubernetes+=("k8s.io/kubernetes/cmd/$program") ;;
  esac
done
build k8s "$stamp" "${kubernetes[@]}"
cd "$bin" && pwd
