#!/usr/bin/env bash
# Type checks, lint and all tests: ./run_tests.sh [--quick] [pytest options]
# --quick leaves out the slow tests and takes one to three minutes.
# Sets up everything in .venv on first use; needs only Python 3.11 or newer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

selection=()
if [ "${1:-}" = --quick ]; then
    shift
    selection=(-m "not slow")
fi

tools/set_up.sh .venv onnxruntime,tensorflow,sample,report,tune,ray,dev
export PATH="$PWD/.venv/bin:$PATH"
ruff check .
ruff format --check .
mypy
exec python -m pytest "${selection[@]}" "$@"
