#!/bin/sh
# A sweep of your own: each batch size one run, by exit statuses and JSON alone.
#
#   tools/sweep.sh FOLDER "1 2 4 8" [options of run]
#
# Runs that are done already are kept, so that it goes on where it was stopped. The table goes to
# stdout: batch size, arrivals, limit, rate, and the capacity with its interval. Ends with 1 if a run
# failed. Runs follow one another, so that a slow minute of the machine hits one of them alone;
# `mlbench-coordinator sweep` measures in turns, and says what is more than noise.
set -u
folder=$1 sizes=$2
shift 2
mkdir -p "$folder" || exit 2
failed=0

for size in $sizes; do
    results=$folder/batch_$size.json
    [ -e "$results" ] && continue
    mlbench-coordinator run --quiet --batch-size "$size" --output "$results.part" "$@" >&2
    status=$?
    case $status in
    0 | 1) mv "$results.part" "$results" ;;           # every answer has a verdict, or one is missing
    2 | 130 | 143) exit "$status" ;;                  # the request is wrong, or somebody ended it
    *) echo "batch size $size: status $status" >&2 ;; # a worker failed: go on with the others
    esac
    [ "$status" -eq 0 ] || failed=1
done

python3 - "$folder" $sizes <<'PYTHON'
import json
import pathlib
import sys

folder, sizes = pathlib.Path(sys.argv[1]), sys.argv[2:]
print("batch_size arrivals limit_s qps capacity_qps low high")
for size in sizes:
    path = folder / f"batch_{size}.json"
    if not path.exists():
        continue
    for arrivals, answers in json.loads(path.read_text())["results"].items():
        for limit_s, answer in answers.items():
            low, high = answer["capacity_ci95"] or (None, None)
            figures = (answer["qps"], answer["capacity_qps"], low, high)
            shown = ("-" if figure is None else f"{figure:.1f}" for figure in figures)
            print(size, arrivals, limit_s, *shown)
PYTHON
exit $failed
