# Sourced by cluster.sh: what runs on the node, with which settings, and when it
# is ready. Paths under /var/lib, /var/log and /run are the node's own (node.sh).
# shellcheck shell=bash disable=SC2034,SC2054,SC2154

components=(etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy hostcloud)

# command_line COMPONENT: sets `cmd`.
command_line() {
  local name=$1 pki=$run/pki
  local kubeconfig=$pki/$name.kubeconfig
  case $name in
    etcd)
      # Nothing here outlives the machine: there is no need to wait for its disk.
      cmd=("$bin/etcd" --data-dir /var/lib/etcd --unsafe-no-fsync --logger zap)
      ;;
    kube-apiserver)
      cmd=("$bin/kube-apiserver" --etcd-servers http://127.0.0.1:2379
        --bind-address 0.0.0.0 --secure-port 6443 --advertise-address "$node_address"
        --service-cluster-ip-range "$service_network" --allow-privileged
        --shutdown-watch-termination-grace-period 5s # or it waits a minute for watches to end
        --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction
        --client-ca-file "$pki/ca.crt" --tls-cert-file "$pki/kube-apiserver.crt" --tls-private-key-file "$pki/kube-apiserver.key"
        --service-account-issuer https://kubernetes.default.svc.cluster.local
        --service-account-key-file "$pki/sa.pub" --service-account-signing-key-file "$pki/sa.key"
        --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP
        --kubelet-client-certificate "$pki/kubelet-client.crt" --kubelet-client-key "$pki/kubelet-client.key"
        --requestheader-client-ca-file "$pki/ca.crt" --requestheader-allowed-names front-proxy-client
        --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group
        --requestheader-extra-headers-prefix X-Remote-Extra-
        --proxy-client-cert-file "$pki/front-proxy.crt" --proxy-client-key-file "$pki/front-proxy.key")
      ;;
    kube-controller-manager)
      cmd=("$bin/kube-controller-manager" --kubeconfig "$kubeconfig"
        --authentication-kubeconfig "$kubeconfig" --authorization-kubeconfig "$kubeconfig"
        --leader-elect=false --use-service-account-credentials
        --service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt"
        --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key"
        --allocate-node-cidrs --cluster-cidr "$pod_network" --service-cluster-ip-range "$service_network")
      ;;
    kube-scheduler)
      cmd=("$bin/kube-scheduler" --kubeconfig "$kubeconfig" --leader-elect=false
        --authentication-kubeconfig "$kubeconfig" --authorization-kubeconfig "$kubeconfig")
      ;;
    containerd) cmd=(containerd --config "$run/config/containerd.toml") ;;
    kubelet)
      cmd=("$bin/kubelet" --config "$run/config/kubelet.yaml" --kubeconfig "$kubeconfig"
        --hostname-override "$node_name" --node-ip "$node_address")
      ;;
    kube-proxy) cmd=("$bin/kube-proxy" --config "$run/config/kube-proxy.yaml") ;;
    hostcloud)
      cmd=("$run/bin/hostcloud" --kubeconfig "$run/pki/admin.kubeconfig" --node "$node_name"
        --addresses "$balancer_network" --volumes /var/lib/volumes)
      ;;
  esac
}

# is_ready COMPONENT: tells whether it does its work.
is_ready() {
  case $1 in
    etcd) http_ok 2379 /health ;;
    kube-apiserver) kubectl get --raw /readyz ;;
    kube-controller-manager) listens 10257 ;;
    kube-scheduler) listens 10259 ;;
    containerd) in_node ctr --timeout 5s version ;;
    kubelet) http_ok 10248 /healthz ;;
    kube-proxy) http_ok 10256 /healthz ;;
    hostcloud) alive hostcloud ;;
  esac
}

listens() { # listens PORT
  # shellcheck disable=SC2016
  in_node timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"' "$1"
}

http_ok() { # http_ok PORT PATH
  # shellcheck disable=SC2016
  in_node timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "GET %s HTTP/1.0\r\n\r\n" "$1" >&3 && read -r _ code _ <&3 && [[ $code == 200 ]]' "$1" "$2"
}

# write_config: the files that components read.
write_config() {
  local snapshotter=overlayfs
  # An overlay cannot lie on another, as it would in most containers.
  [[ $(stat -f -c %T "$run") != overlayfs ]] || snapshotter=native
  mkdir "$run/config" "$run/config/cni"
  # There is no DNS but the cluster's.
  echo "# nothing outside can be asked" >"$run/config/resolv.conf"

  cat >"$run/config/cni/10-bridge.conflist" <<EOF
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
  "type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "/var/lib/cni/ipam", "ranges": [[{"subnet": "${pod_network%.*.*}.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}
EOF

  # Version 2 is what Debian's containerd reads; later ones still do.
  cat >"$run/config/containerd.toml" <<EOF
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "local/pause:1"
  restrict_oom_score_adj = true # a container may not be allowed to lower it
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$run/config/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "$snapshotter"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
EOF
  echo "$snapshotter" >"$run/config/snapshotter"

  cat >"$run/config/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
failCgroupV1: false
failSwapOn: false
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $run/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $run/pki/kubelet-server.crt
tlsPrivateKeyFile: $run/pki/kubelet-server.key
clusterDomain: cluster.local
clusterDNS: [$dns_address]
resolvConf: $run/config/resolv.conf
makeIPTablesUtilChains: false
syncFrequency: 10s # how soon a changed ConfigMap or Secret is in the Pod
# The disk is the developer's, and often nearly full.
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
EOF

  cat >"$run/config/kube-proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
nftables: {minSyncPeriod: 100ms}
clientConnection: {kubeconfig: $run/pki/kube-proxy.kubeconfig}
clusterCIDR: $pod_network
hostnameOverride: $node_name
conntrack: {maxPerCore: 0} # the machine's, not the node's
EOF
}
