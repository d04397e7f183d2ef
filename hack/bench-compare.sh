#!/usr/bin/env bash
# Compares by benchstat what a message costs the checkout and the commit that it is
# based on, in counts that do not depend on the machine (test/benchcount), and fails
# where it costs more and no commit since then says "Costs-More: UNIT why".
# Usage: bench-compare.sh [BASE]
#   BASE  a commit; where main and the checkout part, or else the commit before, if
#         it is not given. HEAD shows what is not committed yet.
set -euo pipefail
cd "$(dirname "$0")/.."

nothing() {
  echo "bench-compare: nothing to compare with: $1"
  exit 0
}

commit() { git rev-parse --verify --quiet "$1^{commit}"; }

head=$(commit HEAD) || nothing "this is no git repository, or has no commit"
if [[ -n ${1:-} ]]; then
  base=$(commit "$1") || { echo "bench-compare: BASE=$1: no such commit here" >&2; exit 1; }
else
  base=$(git merge-base HEAD origin/main 2>/dev/null || true)
  if [[ -z $base || $base == "$head" ]]; then
    base=$(commit HEAD~1) || nothing "no commit before HEAD is in this clone"
  fi
fi

mapfile -t accepted < <(git log --format='%(trailers:key=Costs-More,valueonly,unfold)' "$base..HEAD" | sed '/^ *$/d')
for line in "${accepted[@]}"; do
  [[ ${line%%[ ,:]*} != all ]] || nothing "a commit says: Costs-More: $line"
done

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
build=(env CGO_ENABLED=0 go build -buildvcs=false -trimpath)

echo "bench-compare: base is $(git log -1 --format='%h %s' "$base")"
mkdir "$tmp/tree"
git archive "$base" | tar -x -C "$tmp/tree"
(cd "$tmp/tree" && "${build[@]}" -o "$tmp/base" .) || nothing "the base does not build"
"${build[@]}" -o "$tmp/head" .
go test -c -o "$tmp/count.test" ./test/benchcount
go -C hack/tools build -o "$tmp/benchstat" golang.org/x/perf/cmd/benchstat
go build -o "$tmp/benchgate" ./hack/benchgate

# Both are measured by the checkout's own benchmark: what changes in it is no change of the relay.
for one in base head; do
  (cd "$tmp" && ./count.test -test.run '^$' -test.bench . -test.benchtime 100x -test.count 4 -relay "$tmp/$one") >"$tmp/$one.txt" 2>&1 || {
    cat "$tmp/$one.txt" >&2
    echo "bench-compare: the $one cannot be measured: see above" >&2
    [[ $one == head ]] || echo "bench-compare: if that is meant to be, say \"Costs-More: all\" and why among the last lines of the commit's message" >&2
    exit 1
  }
done

"$tmp/benchstat" "base=$tmp/base.txt" "head=$tmp/head.txt"
for one in base head; do
  sed -nE "s/^.*: (.* per message: )/$one: \1/p" "$tmp/$one.txt" | sort -u -t: -k2,2
done
"$tmp/benchstat" -format csv "base=$tmp/base.txt" "head=$tmp/head.txt" 2>/dev/null | "$tmp/benchgate" "${accepted[@]}"
echo "bench-compare: ok"
