#!/usr/bin/env bash
# Everything that Quench needs on a fresh Debian 12 or Ubuntu 24.04, and the build. A second call takes seconds.
#
#   ./setup.sh                  CPU build in build/release
#   ./setup.sh --cuda           GPU build in build/cuda, for H100 and H200 (others: CUDAARCHS=80 ./setup.sh --cuda); needs nvcc 13
#   ./setup.sh --libtorch DIR   with an existing libtorch (DIR holds include/ and lib/); also -DCMAKE_PREFIX_PATH=DIR, or CMAKE_PREFIX_PATH in the environment
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/tools/common.sh"

system_packages=(
  'g++|C++20 compiler'
  'cmake|build'
  'ninja-build|build'
  'ccache|faster rebuilds'
  'pkgconf|build: finds PCRE2'
  'clang-format-14|format check of every build'
  'clang-tidy-14|static analysis of ./test.sh --full'
  'clang-14|what clang-tidy reads with: a build of ./test.sh --full'
  'libopenmpi-dev|MPI'
  'openmpi-bin|mpirun'
  'libhdf5-openmpi-dev|parallel HDF5, the result files'
  'hdf5-tools|h5dump, to look into result files'
  'libboost-program-options-dev|command line and configuration'
  'libgtest-dev|tests'
  'libgmock-dev|tests'
  'nlohmann-json3-dev|JSON'
  'libspdlog-dev|logging'
  'libpcre2-dev|tokenizer patterns'
  'libssl-dev|SHA-256'
  'zlib1g-dev|journal checksums'
  'libjs-chart.js|plots of the report'
  'python3-venv|fetches libtorch and models'
)

usage() { sed -n '2,6s/^# \{0,1\}//p' "$0"; }

# The wheel's C++ part alone needs no more than the CUDA runtime that libtorch_cpu.so is linked to.
lean_libtorch() {
  local dir=$deps/libtorch
  [ ! -d "$dir/torch-$torch_version.dist-info" ] || return 0
  say "fetching libtorch $torch_version (530 MB)"
  fetch_wheel "$dir" --no-deps "torch==$torch_version" 'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cupti==13.0.*'
}

cuda_libtorch() {
  local dir=$deps/libtorch-cuda
  [ ! -d "$dir/torch-$torch_version.dist-info" ] || return 0
  say "fetching libtorch $torch_version with CUDA (2.5 GB)"
  fetch_wheel "$dir" "torch==$torch_version"
}

fetch_wheel() {
  local dir=$1
  shift
  tools_venv
  rm -rf "$dir.new"
  pip_install "$deps/tools/bin/python" "torch==$torch_version, which holds libtorch (or give an existing one: ./setup.sh --libtorch DIR)" \
    --no-compile --target "$dir.new" "$@"
  rm -rf "$dir"
  mv -T "$dir.new" "$dir"
}

has_libtorch() { [ -e "$1/include/ATen/ATen.h" ] && [ -e "$1/lib/libtorch_cpu.so" ]; }

libtorch_in_prefix_path() {
  local prefix
  while IFS= read -r prefix; do
    if [ -n "$prefix" ] && has_libtorch "$prefix"; then
      printf '%s\n' "$prefix"
      return
    fi
  done < <(tr ':;' '\n' <<<"${CMAKE_PREFIX_PATH:-}")
}

check_cuda_toolkit() {
  local nvcc
  nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null) ||
    fail "--cuda needs nvcc of the CUDA 13 toolkit: install cuda-toolkit-13-0, or put nvcc on PATH (NCCL comes with libtorch)"
  export CUDACXX=${CUDACXX:-$nvcc}
}

preset=release
libtorch=
while [ $# -gt 0 ]; do
  case $1 in
    --cuda) preset=cuda ;;
    --libtorch)
      [ $# -gt 1 ] || fail "--libtorch needs a directory"
      libtorch=$(realpath -m "$2")
      has_libtorch "$libtorch" || fail "$2 has no include/ATen/ATen.h and lib/libtorch_cpu.so: not a libtorch"
      shift
      ;;
    -DCMAKE_PREFIX_PATH=*) CMAKE_PREFIX_PATH=${1#*=} ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "unknown option '$1'" ;;
  esac
  shift
done

install_packages "${system_packages[@]}" || exit 1
[ "$preset" = release ] || check_cuda_toolkit
mkdir -p "$deps"
libtorch=${libtorch:-$(libtorch_in_prefix_path)}
if [ -n "$libtorch" ]; then
  say "using libtorch in $libtorch"
elif [ "$preset" = cuda ]; then
  cuda_libtorch
  libtorch=$deps/libtorch-cuda/torch
else
  lean_libtorch
  libtorch=$deps/libtorch/torch
fi

build "$preset" -U 'LIBTORCH_*' "-DLIBTORCH_ROOT=$libtorch"
say "built: build/$preset/pipeline/quench; next: ./quickstart.sh"
