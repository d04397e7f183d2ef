#!/usr/bin/env bash
# Writes the PrometheusRule that config/prometheus installs, out of rules.yaml
# beside it, to FILE.
# Usage: generate-alerts.sh FILE
set -euo pipefail
cd "$(dirname "$0")/.."
{
  cat <<'HEAD'
# Written by make generate from rules.yaml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: printer-relay-alerts
  namespace: printer-relay-system
  labels:
    app.kubernetes.io/name: printer-relay-operator
    app.kubernetes.io/instance: printer-relay
    app.kubernetes.io/part-of: printer-relay
spec:
HEAD
  sed -n '/^groups:/,$s/^/  /p' config/prometheus/rules.yaml
} >"$1"
