#!/usr/bin/env bash
# Becomes the first process of the node: run by cluster.sh in mount, network and
# PID namespaces of their own, which it furnishes. All that the node mounts, and
# every process in it, ends with this process; what it writes is under FOLDER.
# Usage: node.sh FOLDER ADDRESS/BITS NETWORK...   (NETWORKs are reached through the node)
set -euo pipefail
run=$1 address=$2
shift 2

# The number of this process outside: /proc is still that of the machine.
read -r pid _ </proc/self/stat
mount -t proc proc /proc

# The kubelet sets these for the whole machine; here it sets copies.
mkdir "$run/sysctl"
for key in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  [[ -e /proc/sys/$key ]] || continue
  cat "/proc/sys/$key" >"$run/sysctl/${key//\//.}"
  mount --bind "$run/sysctl/${key//\//.}" "/proc/sys/$key"
done

# The folders where a node keeps its state are the node's own.
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount --bind "$run/log" /var/log
for folder in etcd containerd kubelet cni volumes; do
  mkdir "/var/lib/$folder" "$run/$folder"
  mount --bind "$run/$folder" "/var/lib/$folder"
done

# A bridge that stands for the LAN; clients are plugged into it. Nothing else is
# reachable, and says so at once.
ip link set lo up
ip link add lan type bridge
ip address add "$address" dev lan
ip link set lan up
for network; do
  ip route add "$network" dev lo # kube-proxy takes it from there
done
ip route add unreachable default
echo 1 >/proc/sys/net/ipv4/ip_forward

# Replies to Pods that talk to the LAN find the way back.
nft -f - <<'EOF'
table ip node {
  chain postrouting {
    type nat hook postrouting priority srcnat
    ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade
  }
}
EOF

echo "$pid" >"$run/pid/node"
exec "$run/bin/pause"
