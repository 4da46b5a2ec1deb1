#!/usr/bin/env bash
# Builds a container image and runs the benchmark in it:
#   ./run_and_time.sh tf|onnxruntime [cpu|gpu] [further options of mlbench-coordinator run]
# Takes docker or podman, whichever works. MODEL_DIR and DATA_DIR are mounted read-only; results
# land in OUTPUT_DIR (./output), prepared data in MLBENCH_CACHE (~/.cache/mlbench).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    echo "usage: ./run_and_time.sh tf|onnxruntime [cpu|gpu] [mlbench-coordinator run options]" >&2
    exit 2
}

fail() {
    echo "error: $1" >&2
    exit 2
}

find_engine() {
    local found=
    for engine in docker podman; do
        if command -v "$engine" >/dev/null; then
            "$engine" info >/dev/null 2>&1 && return
            found=$engine
        fi
    done
    [ -z "$found" ] || fail "$found is installed but does not answer: start it, and see '$found info'"
    fail "neither docker nor podman found: install one, or run ./run_local.sh without containers"
}

# The user that owns what is written: the caller, whatever the engine maps him to.
set_user() {
    user=(--user "$(id -u):$(id -g)")
    if [ "$engine" = podman ] && [ "$(id -u)" != 0 ]; then
        user+=(--userns keep-id)
    elif [ "$engine" = docker ] && docker info -f '{{.SecurityOptions}}' | grep -q rootless; then
        user=(--user 0:0)
    fi
}

set_gpus() {
    gpus=()
    if [ "$device" = gpu ]; then
        [ "$engine" = docker ] && gpus=(--gpus all) || gpus=(--device nvidia.com/gpu=all)
    fi
}

set_models() {
    mounts=()
    if [ -n "${MODEL_DIR:-}" ] && [ -n "${DATA_DIR:-}" ]; then
        profile=resnet50-$runtime
        mounts=(-v "$(realpath "$MODEL_DIR"):/models:ro" -e MODEL_DIR=/models
            -v "$(realpath "$DATA_DIR"):/data:ro" -e DATA_DIR=/data)
    elif [ -n "${MODEL_DIR:-}${DATA_DIR:-}" ]; then
        fail "set both MODEL_DIR and DATA_DIR, or neither for the embedded default"
    else
        profile=lite0-$runtime
    fi
}

run_image() {
    "$engine" run --rm --read-only --tmpfs /tmp --network none --cap-drop ALL \
        --security-opt no-new-privileges --security-opt label=disable \
        "${user[@]}" "${gpus[@]}" "${mounts[@]}" \
        -v "$cache:/cache" -v "$output:/output" "$image" "$@"
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
    onnxruntime-cpu) extras=onnxruntime,sample ;;
    onnxruntime-gpu) extras=onnxruntime-gpu,gpu,sample ;;
    tf-cpu) extras=tensorflow,sample ;;
    tf-gpu) extras=tensorflow-gpu,gpu,sample ;;
    *) usage ;;
esac
set_models
find_engine
set_user
set_gpus
image=mlbench:$runtime-$device
output=$(realpath -m "${OUTPUT_DIR:-output}")
cache=$(realpath -m "${MLBENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mlbench}")
mkdir -p "$output" "$cache"

SECONDS=0
"$engine" build -f "$here/docker/Dockerfile.$device" --build-arg "EXTRAS=$extras" -t "$image" \
    "$here" >&2
echo "image $image built in $SECONDS s with $engine; running the profile $profile" >&2

SECONDS=0
status=0
run_image run --profile "$profile" --device "$device" "$@" || status=$?
echo "benchmark ended after $SECONDS s with exit status $status; results are in $output" >&2
[ "$status" -lt 128 ] || exit "$status" # somebody ended it: nothing else is run

if ! run_image trial --backend simulated --qps 100 --duration 1 --max-latency 0.5 \
    --arrivals linear >/dev/null; then
    fail "the image $image is not healthy: a small trial on the simulated device did not pass"
fi
echo "image $image is healthy: a small trial on the simulated device passed" >&2
exit "$status"
