#!/usr/bin/env bash
# Makes training/.venv, which prepare and train run in. Export, evaluate and card run in the package's own .venv.
# PYTHON=/path/to/python chooses the interpreter (3.10 to 3.13).
set -euo pipefail
cd "$(dirname "$0")"

fits='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
if ! .venv/bin/python -c "$fits" 2>/dev/null; then
  python=
  for candidate in "${PYTHON:-}" python3.12 python3.11 python3.13 python3.10 python3; do
    if [ -n "$candidate" ] && "$candidate" -c "$fits" 2>/dev/null; then python=$candidate; break; fi
  done
  if [ -z "$python" ]; then
    echo "No Python 3.10 to 3.13 found: install one, or name it with PYTHON=/path/to/python." >&2
    exit 2
  fi
  rm -rf .venv
  "$python" -m venv .venv || { echo "Python's venv module is missing: on Debian or Ubuntu, apt-get install python3-venv." >&2; exit 2; }
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
  torch==2.13.0 'numpy>=2' scipy soundfile pyyaml pillow librosa scikit-learn pytest pytest-timeout hypothesis

.venv/bin/python -c 'import torch; print("torch", torch.__version__, "GPU" if torch.cuda.is_available() else "CPU")'
command -v fluidsynth >/dev/null || echo "fluidsynth is missing; prepare wants it unless you bring notes of your own: apt-get install fluidsynth fluid-soundfont-gm" >&2
command -v "${CXX:-c++}" >/dev/null || echo "no C++ compiler: training will be several times slower; apt-get install g++ python3-dev" >&2
