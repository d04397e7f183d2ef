#!/usr/bin/env bash
# Writes the manifest by which krew installs the plugin: FOLDER/krew.yaml, that of
# config/krew with the version and the archives that hack/archive.sh put into FOLDER.
# Usage: krew.sh VERSION FOLDER
set -euo pipefail
export LC_ALL=C # the archives come in the same order everywhere
(($# == 2)) || { echo "usage: krew.sh VERSION FOLDER" >&2; exit 2; }
version=$1 folder=$(realpath "$2")
cd "$(dirname "$0")/.."

# krew wants a version of SemVer; what is not a release sorts before the one that it leads to.
# A hyphen and no dot before a commit: a hash of digits alone may begin with 0, and no number of SemVer may.
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]] ||
  version="v$(sed -n 's/^version: *//p' charts/printer-relay/Chart.yaml)-dev-${version//[^A-Za-z0-9]/-}"

{
  sed "/^#/d; s/VERSION/$version/" config/krew/printer-relay.yaml
  for archive in "$folder"/printer-relay_*_*.tar.gz "$folder"/printer-relay_*_*.zip; do
    [[ -e $archive ]] || continue
    file=${archive##*/} bin=printer-relay
    platform=${file#printer-relay_} platform=${platform%.tar.gz} platform=${platform%.zip}
    [[ $platform != windows_* ]] || bin=printer-relay.exe
    sum=$(sha256sum "$archive")
    echo "  - selector: {matchLabels: {os: ${platform%_*}, arch: ${platform#*_}}}"
    echo "    uri: https://github.com/printerrelay/printer-relay/releases/download/$version/$file"
    echo "    sha256: ${sum%% *}"
    echo "    bin: $bin"
  done
} >"$folder/krew.yaml"
