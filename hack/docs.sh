#!/usr/bin/env bash
# Builds the site of docs/ into bin/site; a dead link fails it. Nothing but npm, by
# the lock file, is asked for anything.
set -euo pipefail
cd "$(dirname "$0")/.."

site=hack/site
if ! cmp -s "$site/package-lock.json" "$site/node_modules/.installed-lock"; then
  npm ci --prefix "$site" --ignore-scripts --no-audit --no-fund >/dev/null
  cp "$site/package-lock.json" "$site/node_modules/.installed-lock"
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$site/node_modules/.bin/vitepress" build "$site" >"$log" 2>&1 || { cat "$log" >&2; echo "docs: the site could not be built" >&2; exit 1; }
echo "docs: bin/site holds $(find bin/site -name '*.html' | wc -l) pages"
