#!/usr/bin/env bash
# Writes what of the chart is derived into the chart at $1: the CRDs, the rules of
# RBAC, the alerts and the dashboard, which are those of config/, and the README from the values' comments.
set -euo pipefail
cd "$(dirname "$0")/.."
chart=$1

rm -rf "$chart/files"
mkdir -p "$chart/files/crds" "$chart/files/rbac" "$chart/files/alerts" "$chart/files/dashboards"
cp config/crd/bases/*.yaml "$chart/files/crds"
cp config/rbac/role.yaml config/rbac/aggregated.yaml "$chart/files/rbac"
cp config/prometheus/rules.yaml "$chart/files/alerts"
cp config/grafana/printer-relay.json "$chart/files/dashboards"
go tool -modfile=hack/tools/deploy/go.mod helm-docs --log-level warning --chart-search-root "$chart"
