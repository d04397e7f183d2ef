#!/usr/bin/env bash
# Packs the relay as the container image that releases, `make image` and the test
# cluster have, without a Docker engine: see hack/mkimage. Prints the digest.
# Usage: image.sh REFERENCE ARCHIVE PROGRAM...   (one for each architecture)
set -euo pipefail
(($# >= 3)) || { echo "usage: image.sh REFERENCE ARCHIVE PROGRAM..." >&2; exit 2; }
checkout=$(cd "$(dirname "$0")/.." && pwd)
reference=$1 archive=$(realpath -m "$2")
shift 2
mapfile -t programs < <(realpath "$@")
cd "$checkout"

# Without a repository (a release's source archive) nothing of the commit is known.
revision=$(git rev-parse HEAD 2>/dev/null || true)
created=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
label=org.opencontainers.image
go run -trimpath ./hack/mkimage -ref "$reference" -o "$archive" -created "$created" \
  -path /usr/local/bin/printer-relay -folder /var/lib/printer-relay \
  -label "$label.title=Printer Relay" \
  -label "$label.description=SMTP relay and operator for scan to e-mail" \
  -label "$label.licenses=Apache-2.0" \
  -label "$label.source=https://github.com/printerrelay/printer-relay" \
  -label "$label.revision=$revision" \
  -label "$label.version=${reference##*:}" \
  "${programs[@]}"
