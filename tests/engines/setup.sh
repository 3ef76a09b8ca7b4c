#!/usr/bin/env bash
# Fetches the engines of tests/engines by their package names, and checks what came. Running it again does nothing.
# usage: tests/engines/setup.sh [FOLDER]     (default: ~/.cache/gansynth-beam/engines)
# Prism needs Go, Flink and Spark need Maven (and Java 17 to run); an engine whose tool is missing is left out.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/gansynth-beam/engines}
prism_version=v2.77.0  # of the SDK in setup.py
# sha256 of the modules that Prism is built from, with Go's own digests of them, as `go version -m` tells.
prism_digest=6e60a0fe335c27d3e060ee8b919f375b44e7dcb7009db5c2b5cfbe52e7d9b0a4
# sha256 of the list of all jars with the sha256 of each.
flink_digest=e3756fbe6cbcd86afbdc9edc4e9f7aea7d94d0419933a18a6685f91290722dab
spark_digest=a42560083ba90124ac832ce79817f951a1b0a79d367db71a45d238d54102246a
missing=0

modules() { go version -m "$1" | grep -E '^[[:space:]]+(path|mod|dep)[[:space:]]' | sha256sum | cut -d' ' -f1; }
jars() { (cd "$1" && LC_ALL=C sha256sum -- *.jar) | sha256sum | cut -d' ' -f1; }

check() { # what it is, found and expected digest
  if [ "$2" != "$3" ]; then
    echo "setup.sh: $1 is not what was expected: $2 instead of $3" >&2
    exit 1
  fi
}

fetch_prism() {
  if [ -x "$folder/prism" ] && [ "$(modules "$folder/prism")" = "$prism_digest" ]; then
    echo "$folder/prism: is there"
    return
  fi
  GOBIN=$new CGO_ENABLED=0 GOFLAGS=-trimpath go install "github.com/apache/beam/sdks/v2/go/cmd/prism@$prism_version"
  check prism "$(modules "$new/prism")" "$prism_digest"
  mv "$new/prism" "$folder/prism"
  echo "$folder/prism: built"
}

fetch_jars() { # name of the engine, digest
  local jars=$folder/$1/jars
  if [ -d "$jars" ] && [ "$(jars "$jars")" = "$2" ]; then
    echo "$jars: is there"
    return
  fi
  mvn --batch-mode --quiet --file "$here/$1/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$new/$1"
  check "$1" "$(jars "$new/$1")" "$2"
  rm -rf "$jars" && mkdir -p "$folder/$1" && mv "$new/$1" "$jars"
  echo "$jars: fetched"
}

with() { # the tool that is needed, what needs it, command
  if command -v "$1" > /dev/null; then "${@:3}"; else
    echo "setup.sh: no $1, so no $2" >&2
    missing=2
  fi
}

mkdir -p "$folder"
new=$(mktemp -d "$folder/.new.XXXXXX")
trap 'rm -rf "$new"' EXIT
with go Prism fetch_prism
with mvn Flink fetch_jars flink "$flink_digest"
with mvn Spark fetch_jars spark "$spark_digest"
exit "$missing"
