#!/usr/bin/env bash
# Writes the shells' completions of a program that this machine can run.
# Usage: completions.sh PROGRAM FOLDER
set -euo pipefail
(($# == 2)) || { echo "usage: completions.sh PROGRAM FOLDER" >&2; exit 2; }
mkdir -p "$2"
"$1" completion bash >"$2/printer-relay.bash"
"$1" completion zsh >"$2/_printer-relay"
"$1" completion fish >"$2/printer-relay.fish"
chmod 644 "$2"/*
