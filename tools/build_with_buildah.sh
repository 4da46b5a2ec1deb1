#!/usr/bin/env bash
# Builds docker/Dockerfile.cpu where no container engine can run, and runs a small benchmark in it:
#   tools/build_with_buildah.sh [further options of 'buildah bud']
# Needs root, buildah and debootstrap. The Dockerfile's base is made from Debian's packages (kept
# under its name for the next time), so nothing is pulled from an image registry. What runs has a
# read-only root, a /dev/shm of 64 MB and no privileges, as with run_and_time.sh.
# EXTRAS (onnxruntime,sample): the package's extras, as in the Dockerfile. STORAGE_DRIVER: buildah's,
# vfs where overlay mounts are not allowed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dockerfile=$here/docker/Dockerfile.cpu
extras=${EXTRAS:-onnxruntime,sample}
image=localhost/mlbench:${extras%%,*}-cpu
export BUILDAH_ISOLATION=chroot

buildah() {
    command buildah ${STORAGE_DRIVER:+--storage-driver "$STORAGE_DRIVER"} "$@"
}

fail() {
    echo "error: $1" >&2
    exit 2
}

make_base() {
    local base=$1 work container
    work=$(mktemp -d)
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm \
        "$work" >&2
    rm -rf "$work"/var/cache/apt/archives/*.deb "$work"/var/lib/apt/lists/*
    container=$(buildah from scratch)
    buildah add -q "$container" "$work" / >/dev/null
    buildah commit -q "$container" "docker.io/library/$base" >/dev/null
    buildah rm "$container" >/dev/null
    rm -rf "$work"
}

# Runs a command in the image's files as an ordinary user, in a mount namespace of its own.
run_image() {
    unshare --mount --pid --fork --ipc bash -euo pipefail -c '
        root=$1 output=$2
        shift 2
        mount --bind "$root" "$root"
        mount --bind "$output" "$root/output"
        mount -t tmpfs -o mode=1777 tmpfs "$root/cache"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/dev"
        for device in null zero random urandom; do
            touch "$root/dev/$device"
            mount --bind "/dev/$device" "$root/dev/$device"
        done
        mkdir -m 1777 "$root/dev/shm"
        mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/dev/shm"
        mount -o remount,bind,ro "$root"
        exec chroot --userspec 65532:65532 "$root" env -i -C /output \
            PATH=/opt/mlbench/bin:/usr/bin:/bin MLBENCH_CACHE=/cache HOME=/tmp \
            PYTHONDONTWRITEBYTECODE=1 dumb-init -- mlbench-coordinator "$@"
    ' bash "$root" "$output" "$@"
}

[ "$(id -u)" = 0 ] || fail "buildah without a container engine needs root"
for tool in buildah debootstrap unshare; do
    command -v "$tool" >/dev/null || fail "$tool not found: apt-get install buildah debootstrap"
done

base=$(sed -n 's/^FROM \([^ ]*\).*/\1/p' "$dockerfile" | head -n 1)
buildah inspect --type image "docker.io/library/$base" >/dev/null 2>&1 || make_base "$base"
SECONDS=0
buildah bud --pull-never --format docker --layers --build-arg "EXTRAS=$extras" "$@" \
    -f "$dockerfile" -t "$image" "$here" >&2
echo "image $image built in $SECONDS s" >&2

container=$(buildah from --pull-never "$image")
output=$(mktemp -d)
chmod 1777 "$output"
trap 'buildah umount "$container" >/dev/null; buildah rm "$container" >/dev/null; rm -r "$output"' EXIT
root=$(buildah mount "$container")
run_image trial --backend simulated --qps 200 --duration 2 --max-latency 0.5 --arrivals linear
if [[ $extras == *sample* ]]; then
    run_image trial --backend "${extras%%,*}" --qps 20 --duration 2
fi
