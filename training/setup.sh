#!/usr/bin/env bash
# Makes training/.venv, which prepare and train run in. Evaluate and export run in the package's own .venv.
set -euo pipefail
cd "$(dirname "$0")"
command -v fluidsynth >/dev/null || echo "fluidsynth is missing: apt-get install fluidsynth fluid-soundfont-gm" >&2
python=${PYTHON:-python3.11}
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/pip install --quiet torch==2.13.0 'numpy>=2' scipy soundfile pyyaml pillow pytest pytest-timeout hypothesis
.venv/bin/python -c 'import torch; print("torch", torch.__version__, "GPU" if torch.cuda.is_available() else "CPU")'
