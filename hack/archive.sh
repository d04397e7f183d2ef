#!/usr/bin/env bash
# Packs a program with its licence for people to download and for krew:
# FOLDER/printer-relay_OS_ARCH.tar.gz, .zip for Windows. The same octets for the same
# program and SOURCE_DATE_EPOCH.
# Usage: archive.sh PROGRAM OS ARCH FOLDER
set -euo pipefail
(($# == 4)) || { echo "usage: archive.sh PROGRAM OS ARCH FOLDER" >&2; exit 2; }
program=$(realpath "$1") os=$2 arch=$3 folder=$(realpath -m "$4")
cd "$(dirname "$0")/.."
created=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
name=printer-relay kind=tar.gz
[[ $os != windows ]] || name=printer-relay.exe kind=zip
GOOS='' GOARCH='' go run -trimpath ./hack/mkarchive -created "$created" -o "$folder/printer-relay_${os}_$arch.$kind" "$name=$program" LICENSE=LICENSE
