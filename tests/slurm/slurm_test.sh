#!/usr/bin/env bash
# slurm_test.sh QUENCH PYTHON: slurm/run.sbatch on a two-node Slurm of this machine. Two ranks on two nodes finish a run; a signal
# from outside ends a job with code 75, and the same submission completes it. 77 ("skipped") where there is no Slurm.
set -euo pipefail
quench=${1:?program} python=${2:?python}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

skip() {
  echo "skipped: $*"
  exit 77
}
fail() {
  echo "FAILED: $*" >&2
  cat "$work"/quench-*.log >&2 || true
  exit 1
}

for program in sbatch scontrol scancel slurmctld slurmd munged; do
  command -v "$program" >/dev/null || skip "no $program (Debian: slurm-wlm, munge)"
done
[ "$(id -u)" = 0 ] || skip "starting Slurm's daemons needs root"
[ -x "$python" ] || skip "no $python (./test.sh makes it)"

work=$(mktemp -d)
stop_cluster() {
  "$here/two_nodes.sh" stop "$work/slurm"
  [ -n "${keep:-}" ] || rm -rf "$work"
}
trap stop_cluster EXIT
SLURM_CONF=$("$here/two_nodes.sh" start "$work/slurm") || skip "Slurm could not be started"
export SLURM_CONF QUENCH=$quench

"$python" - "$root" "$work" <<'PYTHON' || fail "the inputs could not be made"
import pathlib, sys
sys.path.insert(0, f"{sys.argv[1]}/tests/support")
import tiny_run
missing = tiny_run.what_is_missing()
sys.exit(missing) if missing else tiny_run.make_inputs(pathlib.Path(sys.argv[2]))
PYTHON

# submit RUN [--set key=value ...]: prints the job's number.
submit() {
  local run=$1
  shift
  (cd "$work" && sbatch --parsable -N2 -n2 "$root/slurm/run.sbatch" "$work/run.cfg" --set run.directory="$run" "$@")
}

job_field() { scontrol show job "$1" | grep -o "$2=[^ ]*" | cut -d= -f2; }

# wait_for_end JOB: prints its exit code. No accounting runs, so scontrol is asked while it remembers the job.
wait_for_end() {
  for _ in $(seq 600); do
    case $(job_field "$1" JobState) in
      COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL) job_field "$1" ExitCode | cut -d: -f1 && return ;;
    esac
    sleep 0.5
  done
  fail "job $1 did not end"
}

# wait_for_text JOB TEXT: until its log says so.
wait_for_text() {
  for _ in $(seq 600); do
    grep -q "$2" "$work/quench-$1.log" 2>/dev/null && return
    sleep 0.2
  done
  fail "job $1 never said '$2'"
}

expect() { [ "$2" = "$3" ] || fail "$1: $2, expected $3"; }

manifest() { "$python" -c "import json, sys; print(json.load(open(sys.argv[1]))$2)" "$work/$1/manifest.json"; }

echo "two ranks on two nodes finish a run"
job=$(submit "$work/whole")
expect "exit code" "$(wait_for_end "$job")" 0
expect "nodes of the job" "$(job_field "$job" NumNodes)" 2
expect "ranks" "$(manifest whole "['starts'][-1]['ranks']")" 2
expect "outcome" "$(manifest whole "['outcome']")" "done"
expect "job in the manifest" "$(manifest whole "['starts'][-1]['slurm']['SLURM_JOB_ID']")" "$job"
expect "nodes in the manifest" "$(manifest whole "['starts'][-1]['slurm']['SLURM_JOB_NODELIST']")" "n[1-2]"

for signal in USR1 TERM; do
  echo "SIG$signal in the middle: 75, and the same submission goes on"
  attacks=(--set relearning.steps=1000000 --set relearning.points=1)
  job=$(submit "$work/$signal" "${attacks[@]}")
  wait_for_text "$job" "relearning: begins"
  scancel --signal="$signal" "$job"
  expect "exit code" "$(wait_for_end "$job")" 75
  job=$(submit "$work/$signal" --accept-changes)
  expect "exit code" "$(wait_for_end "$job")" 0
  grep -q "evaluation: kept" "$work/quench-$job.log" || fail "finished stages were not kept"
  "$python" - "$root" "$work" "$signal" <<'PYTHON' || fail "the results differ"
import pathlib, sys
sys.path.insert(0, f"{sys.argv[1]}/tests/support")
import stores
stores.assert_same(pathlib.Path(sys.argv[2], sys.argv[3]), pathlib.Path(sys.argv[2], "whole"))
PYTHON
done
echo "passed"
