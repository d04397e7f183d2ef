#!/usr/bin/env bash
# Makes what the cluster's components know each other by: a certificate authority,
# a certificate for each, the key of ServiceAccount tokens, and kubeconfigs.
# Usage: pki.sh FOLDER NODE ADDRESS SERVICE_ADDRESS
set -euo pipefail
folder=$1 node=$2 address=$3 service=$4
umask 077
mkdir -p "$folder"
cd "$folder"
trap 'cat openssl.log >&2' ERR

key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

certificate() { # certificate NAME SUBJECT [ALTERNATIVE_NAMES]
  openssl req "${key[@]}" -subj "$2" -keyout "$1.key" -out "$1.csr" 2>openssl.log
  {
    echo "keyUsage=digitalSignature"
    echo "extendedKeyUsage=serverAuth,clientAuth"
    [[ -z ${3-} ]] || echo "subjectAltName=$3"
  } >extensions
  openssl x509 -req -days 365 -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -extfile extensions -out "$1.crt" 2>openssl.log
  rm "$1.csr" extensions
}

kubeconfig() { # kubeconfig NAME: with NAME's certificate; all within, so that it can be copied
  cat >"$1.kubeconfig" <<EOF
apiVersion: v1
kind: Config
current-context: printer-relay
contexts: [{name: printer-relay, context: {cluster: printer-relay, user: $1}}]
clusters:
- name: printer-relay
  cluster: {server: "https://$address:6443", certificate-authority-data: $(base64 -w0 ca.crt)}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}
EOF
}

openssl req -x509 "${key[@]}" -days 365 -subj /CN=kubernetes-ca -keyout ca.key -out ca.crt \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>openssl.log
openssl genrsa -out sa.key 2048 2>openssl.log
openssl rsa -in sa.key -pubout -out sa.pub 2>openssl.log

names=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
certificate kube-apiserver /CN=kube-apiserver "$names,IP:127.0.0.1,IP:$service,IP:$address"
certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
certificate front-proxy /CN=front-proxy-client
certificate kubelet-server "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$address"
for user in admin=/O=system:masters/CN=admin "kubelet=/O=system:nodes/CN=system:node:$node" \
  kube-controller-manager=/CN=system:kube-controller-manager kube-scheduler=/CN=system:kube-scheduler \
  kube-proxy=/CN=system:kube-proxy; do
  certificate "${user%%=*}" "${user#*=}"
  kubeconfig "${user%%=*}"
done
rm openssl.log
