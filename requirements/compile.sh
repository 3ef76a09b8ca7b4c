#!/usr/bin/env bash
# Writes the lock files from pyproject.toml: render.txt (what rendering needs), gpu.txt (that, and TensorFlow's CUDA
# libraries), dev.txt (what rendering and the tests need).
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  .venv/bin/uv pip compile pyproject.toml --universal --python-version 3.10 --generate-hashes --no-annotate \
    --no-emit-index-url --no-emit-find-links --custom-compile-command requirements/compile.sh --quiet "$@"
}
compile --extra reference --extra dev --output-file requirements/dev.txt
compile --constraint requirements/dev.txt --output-file requirements/render.txt
compile --extra gpu --constraint requirements/dev.txt --output-file requirements/gpu.txt
