#!/usr/bin/env bash
# Makes .venv inside the checkout from a lock file; does nothing when it is already there.
#   requirements/install.sh render    what rendering needs
#   requirements/install.sh dev       that, the tests' tools and Magenta's own code
# PYTHON=/path/to/python chooses the interpreter (3.10 to 3.13); GPU=1 adds TensorFlow's CUDA libraries.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:?render or dev}
uv_version=0.13.9

fits='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
digest=$(cat "requirements/$profile.txt" ${GPU:+requirements/gpu.txt} setup.py pyproject.toml requirements/install.sh | cksum | tr -d ' ')
ready=".venv/ready-$profile-$digest${GPU:+-gpu}"
[ -e "$ready" ] && .venv/bin/python -c "$fits" 2>/dev/null && exit 0

python=
for candidate in "${PYTHON:-}" python3.12 python3.11 python3.13 python3.10 python3; do
  if [ -n "$candidate" ] && "$candidate" -c "$fits" 2>/dev/null; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
  echo "No Python 3.10 to 3.13 found: install one, or name it with PYTHON=/path/to/python." >&2
  exit 2
fi

echo "Setting up .venv ($profile) with $("$python" --version); this happens once." >&2
if ! .venv/bin/python -c "$fits" 2>/dev/null; then
  rm -rf .venv
  "$python" -m venv .venv || { echo "Python's venv module is missing: on Debian or Ubuntu, apt-get install python3-venv." >&2; exit 2; }
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
install() { .venv/bin/uv pip install --python .venv/bin/python --quiet "$@"; }
install --no-deps --require-hashes --requirement "requirements/$profile.txt"
if [ -n "${GPU:-}" ]; then install --no-deps --require-hashes --requirement requirements/gpu.txt; fi
install --no-deps --no-build-isolation --editable .
# Compiles what a run imports, so that none of its processes has to: some systems forbid writing bytecode later.
PYTHONDONTWRITEBYTECODE= .venv/bin/python -W ignore -c 'import pipeline.run, gansynth.model.network, gansynth.midi.note_seq' 2>/dev/null || true
rm -f ".venv/ready-$profile-"*
touch "$ready"
