#!/usr/bin/env bash
# Fetches the engines of tests/engines by their package names, and checks what came. Running it again does nothing.
# usage: tests/engines/setup.sh [FOLDER]     (default: ~/.cache/gansynth-beam/engines)
set -euo pipefail
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/gansynth-beam/engines}
prism_version=v2.77.0  # of the SDK in setup.py
# sha256 of the modules that Prism is built from, with Go's own digests of them, as `go version -m` tells.
prism_digest=6e60a0fe335c27d3e060ee8b919f375b44e7dcb7009db5c2b5cfbe52e7d9b0a4

modules() { go version -m "$1" | grep -E '^[[:space:]]+(path|mod|dep)[[:space:]]' | sha256sum | cut -d' ' -f1; }

if ! command -v go > /dev/null; then
  echo "setup.sh: no go; install Go 1.26 or newer, Prism is written in it" >&2
  exit 2
fi
prism=$folder/prism
if [ -x "$prism" ] && [ "$(modules "$prism")" = "$prism_digest" ]; then
  echo "$prism: is there"
  exit 0
fi
mkdir -p "$folder"
built=$(mktemp -d "$folder/.building.XXXXXX")
trap 'rm -rf "$built"' EXIT
GOBIN=$built CGO_ENABLED=0 GOFLAGS=-trimpath go install "github.com/apache/beam/sdks/v2/go/cmd/prism@$prism_version"
found=$(modules "$built/prism")
if [ "$found" != "$prism_digest" ]; then
  echo "setup.sh: Prism was built from other modules than expected: $found instead of $prism_digest" >&2
  exit 1
fi
mv "$built/prism" "$prism"
echo "$prism: built"
