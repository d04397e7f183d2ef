#!/usr/bin/env bash
# A Kubernetes cluster of one node, made of plain processes: no Docker engine, no
# registry. README.md beside this file tells what it has and has not. As root:
#
#   cluster.sh up                 bring it up; build what is missing
#   cluster.sh down               end it; nothing is left
#   cluster.sh status             its components; fails if one is not alive
#   cluster.sh kubectl ARGS...    kubectl, as administrator
#   cluster.sh image REFERENCE    pack bin/printer-relay as releases do, and load it
#   cluster.sh load TAR...        load images (what `docker save` or mkimage writes)
#   cluster.sh node CMD...        run CMD on the node
#   cluster.sh client CMD...      run CMD on a client in the node's LAN, 172.31.0.2
#   cluster.sh client-N CMD...    the same for 172.31.0.N
#   cluster.sh shell [ARGS...]    bash on that client, with all that the README's tutorial types
#   cluster.sh start|stop|restart COMPONENT [SIGNAL]
#
# CLUSTER_DIR is the folder for all that it writes: another folder, another
# cluster, beside the first.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=${here%/hack/cluster}
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

node_name=node1
node_address=172.31.0.1
pod_network=10.244.0.0/16
service_network=10.96.0.0/16
dns_address=10.96.0.10
balancer_network=172.31.255.0/24

dir=${CLUSTER_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/printer-relay/cluster-run}
dir=$(realpath -m "$dir")
run=$dir/node # all of this cluster; `down` removes it
cgroup=printer-relay-$(sha256sum <<<"$dir" | cut -c1-8)
bin=$(readlink "$run/bin/kubernetes" || true) # what build.sh built

# shellcheck source-path=SCRIPTDIR
. "$here/components.sh"

fail() { echo "cluster: $*" >&2; exit 1; }
say() { printf 'cluster: %3d s: %s\n' "$SECONDS" "$*" >&2; }

# node_pid prints the first process of the node. Numbers are used again: it is
# ours only if it runs our own copy of the program.
node_pid() {
  local pid
  pid=$(cat "$run/pid/node" 2>/dev/null) &&
    [[ $(readlink "/proc/$pid/exe") == "$run/bin/pause" ]] && echo "$pid"
}

require_node() {
  node=$(node_pid) || fail "no cluster is up in $dir: run $0 up"
}

in_node() {
  nsenter --target "$node" --mount --net --pid -- "$@"
}

kubectl() {
  nsenter --net="/proc/$node/ns/net" -- "$bin/kubectl" --kubeconfig "$run/pki/admin.kubeconfig" --request-timeout 20s "$@"
}

# wait_for SECONDS WHAT COMPONENT CMD...: until CMD succeeds. COMPONENT is whose
# log tells why it does not.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2 component=$3
  shift 3
  until "$@" >/dev/null 2>&1; do
    if ! alive "$component" || ((SECONDS > deadline)); then
      echo "cluster: $what: not in time, or $component has ended. The end of $run/log/$component.log:" >&2
      tail -n 40 "$run/log/$component.log" >&2
      fail "$what failed; $0 down removes what there is"
    fi
    sleep 0.2
  done
}

start() { # start COMPONENT
  local cmd
  command_line "$1"
  # The inner shell ends at once, so that the component is the node's own child.
  # shellcheck disable=SC2016
  in_node bash -c 'name=$1 run=$2; shift 2
    cd /; setsid "$@" >>"$run/log/$name.log" 2>&1 </dev/null & echo $! >"$run/pid/$name"' - "$1" "$run" "${cmd[@]}" 9>&-
}

alive() { # alive COMPONENT
  local pid
  pid=$(cat "$run/pid/$1" 2>/dev/null) && in_node kill -0 "$pid" 2>/dev/null
}

stop() { # stop COMPONENT [SIGNAL]
  local pid deadline=$((SECONDS + 30))
  pid=$(cat "$run/pid/$1" 2>/dev/null) || fail "$1 was never started"
  in_node kill -s "${2-TERM}" "$pid" 2>/dev/null || return 0
  while alive "$1"; do
    if ((SECONDS > deadline)); then
      echo "cluster: $1 does not end by ${2-TERM} in 30 s: killing it" >&2
      in_node kill -s KILL "$pid" 2>/dev/null || true
      deadline=$((SECONDS + 30))
    fi
    sleep 0.1
  done
}

await() { # await COMPONENT
  wait_for 180 "$1" "$1" is_ready "$1"
}

# cgroups prints the folder of the cluster's containers in each cgroup hierarchy.
cgroups() {
  awk -v name="$cgroup" '$3 ~ /^cgroup2?$/ { print $2 "/" name }' /proc/mounts | sort -u
}

make_cgroups() {
  local folder parent controller
  while read -r folder; do
    parent=${folder%/*}
    if [[ $parent == /sys/fs/cgroup ]]; then # version 2 alone: controllers are handed down
      for controller in $(<"$parent/cgroup.controllers"); do
        echo "+$controller" >"$parent/cgroup.subtree_control" 2>/dev/null ||
          echo "cluster: $parent hands down no $controller; in a container, start that with --cgroupns=host" >&2
      done
    fi
    mkdir -p "$folder"
  done < <(cgroups)
}

remove_cgroups() {
  local folder deadline=$((SECONDS + 20))
  while read -r folder; do
    while [[ -e $folder ]]; do
      find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
      ((SECONDS < deadline)) || { echo "cluster: cannot remove $folder" >&2; break; }
      [[ ! -e $folder ]] || sleep 0.1 # the kernel may still be counting the dead
    done
  done < <(cgroups)
}

visible() { # visible VARIABLE FOLDER
  case $2/ in
    /run/* | /var/run/* | /var/lib/* | /var/log/* | /proc/* | /sys/*)
      fail "$1: $2: the node has its own /run, /var/lib and /var/log: name a folder elsewhere" ;;
  esac
}

# claim makes the folder: only one can.
claim() {
  ((EUID == 0)) || fail "must run as root: it makes namespaces and mounts"
  visible CLUSTER_DIR "$dir"
  if node_pid >/dev/null; then
    fail "a cluster is up already in $dir: $0 down ends it; another CLUSTER_DIR makes another"
  fi
  mkdir -p "$dir"
  mkdir "$run" 2>/dev/null || fail "$run is there: another up is running, or an earlier cluster was not taken down: run $0 down"
  mkdir "$run"/{bin,pid,log}
}

build() {
  bin=$("$here/build.sh" etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl coredns)
  visible XDG_CACHE_HOME "$bin"
  ln -s "$bin" "$run/bin/kubernetes"
  (cd "$checkout" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$run/bin/" ./hack/mkimage ./hack/cluster/cmd/...)
}

make_node() {
  # The first child of unshare's shell is the first process of the PID namespace.
  # shellcheck disable=SC2016
  unshare --mount --net --pid bash -c 'setsid bash "$@" >>"$0" 2>&1 </dev/null &' "$run/log/node.log" \
    "$here/node.sh" "$run" "$node_address/24" "$service_network" "$balancer_network"
  local deadline=$((SECONDS + 120))
  until node=$(node_pid); do
    ((SECONDS < deadline)) || { cat "$run/log/node.log" >&2; fail "the node's namespaces could not be made"; }
    sleep 0.1
  done
}

user_environment() {
  export KUBECONFIG=$run/pki/admin.kubeconfig PATH=$bin:$PATH
}

make_client() { # make_client N
  # shellcheck disable=SC2016
  in_node bash -euc '
    ip netns add "client-$0"
    ip link add "lan-$0" type veth peer name eth0 netns "client-$0"
    ip link set "lan-$0" master lan up
    ip -n "client-$0" link set lo up
    ip -n "client-$0" address add "172.31.0.$0/24" dev eth0
    ip -n "client-$0" link set eth0 up
    ip -n "client-$0" route add default via "$1"' "$1" "$node_address"
}

# client N CMD...: the client is made when it is first used.
client() {
  local n=$1 namespace=/proc/$node/root/run/netns/client-$1
  shift
  if ! [[ $n =~ ^[1-9][0-9]*$ ]] || ((n < 2 || n > 254)); then
    fail "client-$n: clients are client-2 to client-254"
  fi
  if [[ ! -e $namespace ]]; then
    exec 8>"$run/clients.lock"
    flock 8
    [[ -e $namespace ]] || make_client "$n"
    exec 8>&-
  fi
  user_environment
  exec nsenter --net="$namespace" -- "$@"
}

load() { # load TAR...
  local tar snapshotter
  snapshotter=$(<"$run/config/snapshotter")
  for tar; do
    in_node ctr --namespace k8s.io images import --snapshotter "$snapshotter" - <"$tar" >&2
  done
}

pack() { # pack REFERENCE PROGRAM
  "$run/bin/mkimage" -ref "$1" -o "$run/image.tar" "$2" >/dev/null
  load "$run/image.tar"
  rm "$run/image.tar"
}

image() { # image REFERENCE: what a release ships
  [[ -x $checkout/bin/printer-relay ]] || fail "bin/printer-relay is not there: run make build"
  "$checkout/hack/image.sh" "$1" "$run/image.tar" "$checkout/bin/printer-relay" >/dev/null
  load "$run/image.tar"
  rm "$run/image.tar"
}

# shell [ARGS...]: kubectl with the plugin, helm and swaks on a client; the chart's
# image is there under the name that the chart gives it, so that nothing is pulled.
shell() {
  local tools=$run/tools helm reference
  command -v swaks >/dev/null || fail "swaks is not there: run $here/deps.sh"
  helm=$(cd "$checkout" && go tool -modfile=hack/tools/deploy/go.mod -n helm)
  reference=$("$helm" template printer-relay "$checkout/charts/printer-relay" | awk '$1 == "image:" { gsub(/"/, "", $2); print $2; exit }')
  [[ $reference ]] || fail "charts/printer-relay names no image"
  image "$reference"
  mkdir -p "$tools"
  ln -sf "$helm" "$tools/helm"
  ln -sf "$checkout/bin/printer-relay" "$tools/printer-relay"
  ln -sf printer-relay "$tools/kubectl-printer_relay"
  export PATH=$tools:$PATH
  client 2 bash "$@"
}

up() {
  local component
  claim
  say "building what is not there"
  build
  say "making the node"
  "$here/pki.sh" "$run/pki" "$node_name" "$node_address" "${service_network%.0/*}.1"
  write_config
  make_cgroups
  make_node
  (client 2 true)
  start etcd
  start containerd
  start kube-apiserver
  await etcd
  await containerd
  pack local/pause:1 "$run/bin/pause"
  pack local/coredns:1 "$bin/coredns"
  await kube-apiserver
  say "the API server is ready"
  for component in "${components[@]}"; do
    alive "$component" || start "$component"
  done
  for component in "${components[@]}"; do
    await "$component"
  done
  kubectl apply -f "$here/addons.yaml" >"$run/log/addons.log"
  wait_for 120 "node $node_name" kubelet kubectl wait --for condition=Ready "node/$node_name" --timeout 1s
  say "the node is ready"
  wait_for 120 "the default ServiceAccount" kube-controller-manager kubectl --namespace default get serviceaccount default
  wait_for 120 "DNS" kubelet kubectl --namespace kube-system rollout status deployment/coredns --timeout 1s
  say "up"
  cat <<EOF
KUBECONFIG=$run/pki/admin.kubeconfig   (its server is reachable on the node and on clients only)
$0 kubectl get nodes
make cluster-shell               (a shell on 172.31.0.2, in the node's LAN, with kubectl, helm and swaks)
EOF
}

down() {
  local node deadline=$((SECONDS + 60))
  [[ -e $run ]] || echo "cluster: nothing is up in $dir" >&2
  if node=$(node_pid); then
    kill -s KILL "$node" # and with it, every process of the node
    while grep -q '^State:[[:space:]]*[^XZ]' "/proc/$node/status" 2>/dev/null; do
      ((SECONDS < deadline)) || fail "the node's processes do not end; their first is $node"
      sleep 0.1
    done
  fi
  remove_cgroups
  [[ ! -e $run ]] || rm -r --one-file-system "$run"
  rmdir --ignore-fail-on-non-empty "$dir" 2>/dev/null || true
}

status() {
  local component pid bad=0
  for component in "${components[@]}"; do
    if alive "$component"; then
      pid=$(<"$run/pid/$component")
      printf '%-24s process %-6s %6d MB\n' "$component" "$pid" \
        "$(in_node cat "/proc/$pid/status" | awk '/^VmRSS/ { print int($2 / 1024) }')"
    else
      printf '%-24s not alive\n' "$component"
      bad=1
    fi
  done
  return "$bad"
}

known() { # known COMPONENT
  [[ " ${components[*]} " == *" $1 "* ]] || fail "$1: no such component; there are ${components[*]}"
}

usage() { sed -n '/^#   cluster.sh/s/^#   //p' "$0" >&2; exit 2; }

verb=${1-}
shift || usage
case $verb in
  up) up ;;
  down) down ;;
  status) require_node; status ;;
  kubectl)
    require_node
    exec nsenter --net="/proc/$node/ns/net" -- "$bin/kubectl" --kubeconfig "$run/pki/admin.kubeconfig" "$@"
    ;;
  image) (($# == 1)) || usage; require_node; image "$1" ;;
  load) (($# > 0)) || usage; require_node; load "$@" ;;
  node)
    (($# > 0)) || usage
    require_node
    user_environment
    exec nsenter --target "$node" --mount --net --pid --wdns="$PWD" -- "$@"
    ;;
  client) (($# > 0)) || usage; require_node; client 2 "$@" ;;
  shell) require_node; shell "$@" ;;
  client-*) (($# > 0)) || usage; require_node; client "${verb#client-}" "$@" ;;
  stop) (($# > 0)) || usage; require_node; known "$1"; stop "$@" ;;
  start) (($# == 1)) || usage; require_node; known "$1"; alive "$1" || start "$1"; await "$1" ;;
  restart) (($# > 0)) || usage; require_node; known "$1"; stop "$@"; start "$1"; await "$1" ;;
  *) usage ;;
esac
