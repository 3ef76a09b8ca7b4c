#!/usr/bin/env bash
# Renders MIDI files with GANSynth; the first call installs what that needs into .venv.
#   ./run_pipeline.sh                              the bundled example songs, into out/
#   ./run_pipeline.sh INPUT [...] [-o OUTPUT]      files, folders or patterns, into OUTPUT (default: out)
#   ./run_pipeline.sh song.mid -o song.wav         one file to one sound file
#   ./run_pipeline.sh COMMAND ...                  another command: plan, preview, ... (see --help)
set -euo pipefail
root=$(cd "$(dirname "$0")" && pwd)
"$root/requirements/install.sh" render
# Not python -m pipeline: it would import a yaml.py, say, of the folder it is called in.
exec "$root/.venv/bin/gansynth-beam" "$@"
