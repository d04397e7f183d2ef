#!/usr/bin/env bash
# Fails, and says what to run, if something that is derived or formatted is not
# as it should be. Changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

tool=(go tool -modfile=hack/tools/go.mod)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=()

step() { # step NAME REMEDY COMMAND...
  local name=$1 remedy=$2
  shift 2
  echo "verify: $name"
  "$@" || failed+=("$name: $remedy")
}

# Apply configurations are written beside the kinds, wherever those are: so all
# is generated in a copy of them.
generated() {
  local tools=$PWD/hack/tools/go.mod copy=$tmp/copy
  mkdir -p "$copy/hack" &&
    cp -r go.mod go.sum api "$copy" && cp hack/boilerplate.go.txt "$copy/hack" &&
    rm -r "$copy/api/v1alpha1/applyconfiguration" "$copy/api/v1alpha1/zz_generated.deepcopy.go" || return
  (
    cd "$copy"
    gen=(go tool -modfile="$tools" controller-gen)
    "${gen[@]}" object:headerFile=hack/boilerplate.go.txt paths=./api/v1alpha1 &&
      "${gen[@]}" crd paths=./api/v1alpha1 output:crd:dir=crd &&
      "${gen[@]}" applyconfiguration:headerFile=hack/boilerplate.go.txt paths=./api/v1alpha1
  ) && diff -ru api "$copy/api" && diff -ru config/crd/bases "$copy/crd"
}

# What docs/reference says of the kinds.
reference() {
  hack/generate-api.sh "$tmp/api.md" && diff -u docs/reference/api.md "$tmp/api.md"
}

# Roles from controllers/rbac.go, and what the chart has of config/ and its README.
installed() {
  "${tool[@]}" controller-gen rbac:roleName=printer-relay-operator paths=./controllers output:rbac:dir="$tmp/rbac" &&
    diff -u config/rbac/role.yaml "$tmp/rbac/role.yaml" &&
    hack/generate-alerts.sh "$tmp/alerts.yaml" && diff -u config/prometheus/alerts.yaml "$tmp/alerts.yaml" &&
    cp -r charts/printer-relay "$tmp/chart" && hack/generate-chart.sh "$tmp/chart" &&
    diff -ru charts/printer-relay "$tmp/chart"
}

formatted() {
  local diff
  diff=$("${tool[@]}" gofumpt -d .) || return
  [[ -z $diff ]] || { echo "$diff"; return 1; }
}

# A test that sleeps does so in a synctest bubble, where the clock is not real.
awake() {
  local file status=0
  while read -r file; do
    grep -q '"testing/synctest"' "$file" || { echo "$file: time.Sleep outside a synctest bubble"; status=1; }
  done < <(grep -rl --include='*_test.go' 'time\.Sleep(' api controllers relay)
  return "$status"
}

# Marks that a merge left behind.
merged() {
  ! git grep -nE '^(<<<<<<<|>>>>>>>) '
}

step "merges" "decide between the two, and take the marks out" merged
step "generated files" "run make generate, commit what changes" generated
step "generated reference" "run make generate, commit what changes" reference
step "generated roles and chart" "run make generate, commit what changes" installed
step "format" "run make fmt" formatted
step "tests that sleep" "wait for what happens, or use testing/synctest" awake
step "workflows" "see above" go tool -modfile=hack/tools/release/go.mod actionlint
step "other systems" "see above; relay/*_other.go are such files" go -C hack/tools run ./crosscheck -dir ../.. darwin/arm64 windows/amd64
step "go.mod" "run go mod tidy" go mod tidy -diff
step "imports and lint" "see above" go tool -modfile=hack/tools/lint/go.mod golangci-lint run

if ((${#failed[@]} > 0)); then
  printf 'verify: FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "verify: ok"
