#!/usr/bin/env bash
# The tests. Needs ./setup.sh before; fetches what only tests need.
#
#   ./test.sh          builds build/release (which checks the format), runs every test
#   ./test.sh --full   adds tests that repeat and that take long (label soak), the tests of units and communicators under
#                      sanitizers, and clang-tidy: two hours on two cores
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/tools/common.sh"
cd "$root"

full=no
tests=()
case ${1:-} in
  '') ;;
  --full)
    full=yes
    tests=(-C full)
    ;;
  *) fail "unknown option '$1' (--full)" ;;
esac

test_packages=(
  'slurm-wlm|tests under Slurm'
  'munge|tests under Slurm'
)

run_tests() {
  local dir=$1
  shift
  ctest --test-dir "build/$dir" --output-on-failure --no-tests=error -j "$(nproc)" "$@"
}

# A build of its own with clang, whose precompiled headers clang-tidy reads; only what changed is looked at again.
tidy() {
  say "clang-tidy over everything"
  cmake --preset tidy >build/tidy.log && cmake --build --preset tidy -- -k 0 -j "$(build_jobs)" >>build/tidy.log 2>&1 || {
    grep -E '(warning|error):' build/tidy.log | sort -u | head -n 40 >&2 || true
    fail "clang-tidy found something; the whole log: build/tidy.log"
  }
}

[ -e build/release/build.ninja ] || fail "build/release is not configured: run ./setup.sh first"
install_packages "${test_packages[@]}" || say "going on without them: tests that need them are skipped"
make_venv "$deps/python" "comparison with transformers, 2.5 GB to fetch" "torch==$torch_version" transformers==5.23.0 \
  tokenizers safetensors h5py numpy gguf pytest
tools/fetch_models.sh smollm2 gemma3

build release
if [ "$full" = yes ]; then
  tidy
  build asan
  build tsan
  # Open MPI does not free all it takes; one test asks for more memory than there is.
  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 run_tests asan -L 'unit|mpi'
  run_tests tsan -L unit
fi
run_tests release "${tests[@]}"
