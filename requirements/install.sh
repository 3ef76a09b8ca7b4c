#!/usr/bin/env bash
# Makes .venv inside the checkout from a lock file; does nothing when it is already there.
#   requirements/install.sh render    what rendering needs
#   requirements/install.sh dev       that, the tests' tools and Magenta's own code
# PYTHON=/path/to/python chooses the interpreter (3.10 to 3.13); GPU=1 takes TensorFlow for NVIDIA's GPUs.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:?render or dev}
uv_version=0.13.9

# The name of the file that says that an environment is complete.
marker() {
  local digest
  digest=$(cat "requirements/$1.txt" ${GPU:+requirements/gpu.txt} setup.py pyproject.toml requirements/install.sh | cksum | tr -d ' ')
  echo ".venv/ready-$1-$digest${GPU:+-gpu}"
}
fits='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
ready=$(marker "$profile")
for complete in "$ready" "$(marker dev)"; do
  [ -e "$complete" ] && .venv/bin/python -c "$fits" 2>/dev/null && exit 0
done

python=
for candidate in "${PYTHON:-}" python3.12 python3.11 python3.13 python3.10 python3; do
  if [ -n "$candidate" ] && "$candidate" -c "$fits" 2>/dev/null; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
  echo "No Python 3.10 to 3.13 found: install one, or name it with PYTHON=/path/to/python." >&2
  exit 2
fi

case "$profile${GPU:+-gpu}" in
  render) what="what rendering needs" fetched="480 MB" size="2.1 GB" ;;
  *-gpu) what="what rendering on a GPU needs" fetched="3 GB" size="several GB" ;;
  *) what="what rendering and the tests need" fetched="1 GB" size="3.5 GB" ;;
esac
{
  echo "First set-up: installs $what into $PWD/.venv, with $("$python" --version)."
  echo "Fetches about $fetched of Python packages, most of it TensorFlow, unless uv's cache has them; takes $size on disk."
  if [ -z "${GPU:-}" ] && [ -e /proc/driver/nvidia/version ]; then
    echo "This machine has an NVIDIA GPU: to render on it, stop this and run it with GPU=1 before the command."
  fi
} >&2
if ! .venv/bin/python -c "$fits" 2>/dev/null; then
  rm -rf .venv
  "$python" -m venv .venv || { echo "Python's venv module is missing: on Debian or Ubuntu, apt-get install python3-venv." >&2; exit 2; }
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version"

# Shows uv's progress without the list of packages.
install() {
  .venv/bin/uv pip install --python .venv/bin/python --no-deps "$@" 2>&1 |
    while IFS= read -r line; do
      case $line in " + "* | " - "* | " ~ "* | Using*) ;; *) echo "  $line" >&2 ;; esac
    done
}
# Two packages with the same files: the one that another lock file brought would be overwritten.
.venv/bin/uv pip uninstall --python .venv/bin/python --quiet tensorflow tensorflow-cpu 2>/dev/null || true
if [ "$profile" = dev ] || [ -z "${GPU:-}" ]; then install --require-hashes --requirement "requirements/$profile.txt"; fi
if [ -n "${GPU:-}" ]; then install --require-hashes --requirement requirements/gpu.txt; fi
install --quiet --no-build-isolation --editable .
# Compiles what a run imports, so that none of its processes has to: some systems forbid writing bytecode later.
PYTHONDONTWRITEBYTECODE= .venv/bin/python -W ignore -c 'import pipeline.run, gansynth.model.network, gansynth.midi.note_seq' 2>/dev/null || true
rm -f .venv/ready-*
touch "$ready"
echo "Set-up complete." >&2
