#!/usr/bin/env bash
# A real model, a real catalog, two ranks: erases, evaluates, attacks and reports in minutes on a laptop.
# Called again, it goes on where it stopped.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/tools/common.sh"
cd "$root"

quench=build/release/pipeline/quench
run=runs/quickstart
[ -x "$quench" ] || fail "$quench is not built: run ./setup.sh first"

tools/fetch_models.sh smollm2
prepare_mpi 2
say "8 concepts; two of them are attacked, 24 steps each on short paragraphs: enough to see a curve, too few to claim robustness"
code=0
mpirun "${mpirun_options[@]}" "$quench" run -c configs/quickstart.cfg --set run.directory="$run" || code=$?

if [ -e "$run/report/index.html" ]; then say "report:        $run/report/index.html"; fi
if [ -e "$run/model/config.json" ]; then say "erased model:  $run/model"; fi
exit "$code"
