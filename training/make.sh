#!/usr/bin/env bash
# Makes a voice and a drum kit from FluidR3 in one go: training/make.sh FOLDER, and the kit in FOLDER_kit. What a step
# has finished is not done again. Further arguments go to the training: training/make.sh FOLDER --steps 1000
# VENV=.venv names the package's own environment. Delete training/data or training/runs/main to begin anew.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: training/make.sh FOLDER [OPTIONS OF train]}
shift
tool=training/.venv/bin/python package=${VENV:-.venv}/bin/python
[ -x "$tool" ] || training/setup.sh
[ -f training/data/instruments.json ] || "$tool" -m training prepare
"$tool" -m training train "$@"
"$package" -m training export --out "$out"
"$package" -m training evaluate --checkpoint "$out"
"$tool" -m training measure
"$package" -m training card --checkpoint "$out" --out "$out"
[ -f "${out}_kit/KIT_CARD.md" ] || "$package" -m training kits --out "${out}_kit"
