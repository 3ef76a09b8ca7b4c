#!/usr/bin/env bash
# Writes the two lock files from setup.py: render.txt (what rendering needs), dev.txt (that, and the tests').
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  .venv/bin/uv pip compile setup.py --universal --python-version 3.10 --generate-hashes --no-annotate \
    --no-emit-index-url --no-emit-find-links --custom-compile-command requirements/compile.sh --quiet "$@"
}
compile --extra reference --extra dev --output-file requirements/dev.txt
compile --constraint requirements/dev.txt --output-file requirements/render.txt
