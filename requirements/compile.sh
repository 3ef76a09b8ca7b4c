#!/usr/bin/env bash
# Writes the lock files from pyproject.toml: render.txt (what rendering needs), gpu.txt (that, with TensorFlow for GPUs
# and its CUDA libraries), dev.txt (what rendering and the tests need). unused.txt lists what render.txt and gpu.txt omit.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  .venv/bin/uv pip compile pyproject.toml --universal --python-version 3.10 --generate-hashes --no-annotate \
    --no-emit-index-url --no-emit-find-links --custom-compile-command requirements/compile.sh --quiet "$@"
}
compile --extra reference --extra dev --output-file requirements/dev.txt
used="--constraint requirements/dev.txt --excludes requirements/unused.txt"
compile requirements/cpu.in --override requirements/cpu-overrides.txt $used --output-file requirements/render.txt
compile --extra gpu $used --output-file requirements/gpu.txt
