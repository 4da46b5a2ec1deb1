#!/usr/bin/env bash
# Tries on a machine with an NVIDIA GPU, without a network, all that can be tried there: tools/check_gpu.sh [FOLDER [WORD]...]
# Prints a line for each check: ok, FAILED or not here; exit status 1 if any failed. Takes five to ten minutes, most of
# them for PyTorch to be loaded. WORDs choose the checks with one of them in their name.
# FOLDER (a temporary one by default) keeps models, results and all that was printed. PYTHON names the interpreter,
# which must have what setup.cfg lists under install_requires, and torch. Nothing is installed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# Backends are found through a distribution's metadata, which a clone that is not installed lacks.
mkdir -p "$folder/metadata"
(cd "$root" && "$python" setup.py --quiet egg_info --egg-base "$folder/metadata" > "$folder/metadata.log" 2>&1) || {
    cat "$folder/metadata.log" >&2
    exit 2
}
export PYTHONPATH="$root:$root/tools:$folder/metadata${PYTHONPATH:+:$PYTHONPATH}"
export DATA_DIR="$folder/data"
cd "$folder"
exec "$python" -m gpu_check "$folder" "${@:2}"
