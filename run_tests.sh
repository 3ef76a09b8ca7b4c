#!/usr/bin/env bash
# Sets up and passes the tests. Arguments go to pytest: ./run_tests.sh -m slow, ./run_tests.sh tests/gansynth
set -euo pipefail
cd "$(dirname "$0")"
requirements/install.sh dev
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
if [ $# -eq 0 ]; then set -- -m "not slow"; fi
exec .venv/bin/python -m pytest "$@"
