#!/usr/bin/env bash
# Renders MIDI files with GANSynth. Without arguments: the bundled example songs into out/.
#   ./run_pipeline.sh                                   the example
#   ./run_pipeline.sh FOLDER_OR_PATTERN [OUTPUT]        your files
#   ./run_pipeline.sh --config ... --input ... [...]    the whole command line (see --help)
set -euo pipefail
root=$(cd "$(dirname "$0")" && pwd)
"$root/requirements/install.sh" render
# Not python -m pipeline: it would import a yaml.py, say, of the folder it is called in.
exec "$root/.venv/bin/gansynth-beam" render "$@"
