#!/usr/bin/env bash
# Asks for every address that docs/ and README.md link to, and lists those that do
# not answer. For maintainers: CI has no way to the Internet.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
while read -r url; do
  curl --silent --location --fail --max-time 30 --output /dev/null "$url" || { echo "docs-links: $url does not answer"; failed=1; }
done < <(grep -rhoE --include='*.md' '\]\(https?://[^) ]+' docs README.md SECURITY.md | sed 's/^](//; s/#.*//' | sort -u)
exit "$failed"
