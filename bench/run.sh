#!/usr/bin/env bash
# The benchmarks, each beside its peer in the same run: a table, and every figure as lines of JSON. Needs ./setup.sh, and
# ./test.sh or tools/fetch_models.sh before for the real embeddings and the peer from Python.
#
#   bench/run.sh [--quick] [OUT.json]      default OUT: build/bench.json; about 25 minutes on two cores, --quick 5
set -euo pipefail
# shellcheck source=../tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../tools/common.sh"
cd "$root"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMP_WAIT_POLICY=PASSIVE # ours and the peers alike: spinning threads lose most where anything else runs

quick=no
if [ "${1:-}" = --quick ]; then
  quick=yes
  shift
fi
out=${1:-build/bench.json}
bench=build/release/bench/dictionary_bench
[ -x "$bench" ] || fail "$bench is not there: run ./setup.sh first"
python=$deps/python/bin/python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
: >"$out"

# The embedding of a model as raw float32 rows, every STEP-th; nothing where the model or Python is missing.
embedding() {
  local model=$deps/models/$1 step=$2 file=$scratch/$1-$2
  if [ -e "$model/model.safetensors" ] && [ -x "$python" ]; then
    "$python" - "$model" "$step" "$file" <<'PYTHON'
import sys
from safetensors import safe_open
with safe_open(f"{sys.argv[1]}/model.safetensors", "pt") as tensors:
    rows = tensors.get_tensor("model.embed_tokens.weight")[::int(sys.argv[2])].float()
rows.numpy().tofile(sys.argv[3])
PYTHON
    printf '%s' "$file"
  fi
}

measure() {
  say "$*"
  "$@" | tee -a "$out" >/dev/null
}

smol=$(embedding SmolLM2-135M-Instruct 8)
gemma=$(embedding gemma-3-270m 1)
# shellcheck disable=SC2086 # an empty path is no argument
{
  measure "$bench" iteration 576 6000 100 $smol
  [ ! -x "$python" ] || measure "$python" bench/reference.py 576 6000 100 $smol
  measure "$bench" bytes
  if [ $quick = no ]; then
    measure "$bench" iteration 2304 6000 100
    measure "$bench" iteration 4096 6000 200
    for case in '2304 6000 100' '4096 6000 200'; do
      [ ! -x "$python" ] || measure "$python" bench/reference.py $case
    done
    measure mpirun --bind-to none -n 1 "$bench" catalog 64 2304 100
    measure env OMP_NUM_THREADS=1 mpirun --bind-to none -n 2 "$bench" catalog 64 2304 100
    measure "$bench" joint 640 262144 2048 $gemma
    # Weak scaling: as many rows a rank as two ranks have of all.
    measure env OMP_NUM_THREADS=1 mpirun --bind-to none -n 1 "$bench" joint 640 131072 2048 $gemma
    for ranks in 1 2; do
      measure env OMP_NUM_THREADS=1 mpirun --bind-to none -n $ranks "$bench" joint 640 262144 2048 $gemma
    done
    # shellcheck disable=SC2046 # two numbers
    measure "$bench" scaling 640 262144 2048 $(python3 - "$out" <<'PYTHON'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
one = [x for x in lines if x["case"] == "joint" and x["ranks"] == x["threads"] == 1][-1]
print(one["iteration_s"], one["product_s"])
PYTHON
    )
  else
    for ranks in 1 2; do
      measure env OMP_NUM_THREADS=1 mpirun --bind-to none -n $ranks "$bench" joint 640 32768 512 $gemma
    done
  fi
}
model=$deps/models/SmolLM2-135M-Instruct
if [ -e "$model/model.safetensors" ]; then
  evaluation=build/release/bench/evaluation_bench
  for case in letter choice generate forward cell; do
    count=300
    [ $case != generate ] || count=150
    catalog=configs/catalogs/starter
    if [ $quick = yes ]; then
      count=40
    elif [ $case = cell ]; then
      # 50 questions of a concept and 50 of its neighbours, and those of ten others as 1,000 general ones.
      count=1000 catalog=$scratch/concepts
      "$deps/tools/bin/python" tools/synthetic_catalog.py "$catalog" --concepts 11 --questions 25 --model "$model" >&2
    fi
    measure mpirun --bind-to none -n 1 "$evaluation" $case "$model" "$catalog" $count "$scratch/$case.json"
    if [ -x "$python" ] && [ $case != cell ]; then
      measure "$python" bench/evaluation_reference.py $case "$model" "$scratch/$case.json"
    fi
  done
  for ranks in 1 2; do
    measure env OMP_NUM_THREADS=1 mpirun --bind-to none -n $ranks "$evaluation" choice "$model" configs/catalogs/starter 300
  done
fi
echo
if command -v python3 >/dev/null; then python3 bench/table.py "$out"; fi
say "every figure: $out"
