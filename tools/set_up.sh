#!/usr/bin/env bash
# Installs mlbench-coordinator with the given extras into a virtual environment: tools/set_up.sh VENV EXTRAS
# Does nothing when that was done already from the same sources.
set -euo pipefail
venv=$1
extras=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

python=${PYTHON:-}
for candidate in python3.13 python3.12 python3.11 python3; do
    [ -z "$python" ] && command -v "$candidate" > /dev/null \
        && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && python=$candidate
done
if [ -z "$python" ]; then
    echo "error: Python 3.11 or newer was not found; install it or name it in PYTHON" >&2
    exit 2
fi

stamp=$venv/.mlbench-$(printf '%s' "$extras" | tr ',' '_')-$(cat "$root/setup.cfg" "$root/pyproject.toml" | cksum | tr ' ' '-')
if [ ! -e "$stamp" ]; then
    echo "installing mlbench-coordinator[$extras] into $venv (once)" >&2
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root[$extras]" >&2
    touch "$stamp"
fi
