#!/usr/bin/env bash
# Collects a CUDA build for a GPU machine that has libtorch (in its Python) and CUDA, but no Open MPI, HDF5 or Boost.
#
#   tools/bundle_gpu.sh [BUILD] [OUT]     defaults: build/cuda gpu-bundle
#
# There:  . OUT/env.sh && OUT/bin/quench --help   or   mpirun -n 1 OUT/bin/quench ...
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

build=${1:-$root/build/cuda}
out=${2:-$root/gpu-bundle}
limit_mib=64

[ -x "$build/pipeline/quench" ] || fail "$build/pipeline/quench is not built: run ./setup.sh --cuda"
rm -rf "$out"
mkdir -p "$out/bin" "$out/lib" "$out/openmpi/bin"

# The program, the tests of the GPU and the benchmarks, without debug symbols.
mapfile -t programs < <(find "$build/pipeline/quench" "$build/tests/gpu" "$build/bench" -type f -executable \
  ! -name '*.so*' ! -path '*/CMakeFiles/*')
for program in "${programs[@]}"; do strip -o "$out/bin/$(basename "$program")" "$program"; done

# Open MPI finds its plug-ins, its daemon and its texts below OPAL_PREFIX, PMIx its own below PMIX_INSTALL_PREFIX.
ompi_path() { ompi_info --path "$1" --parsable | cut -d: -f3; }
prefix=$(ompi_path prefix)
for folder in "$(ompi_path pkglibdir)" "$(ompi_path pkgdatadir)"; do
  copy=$out/openmpi${folder#"$prefix"}
  mkdir -p "$(dirname "$copy")"
  cp -rL "$folder" "$copy"
done
# One machine: no fabrics, no OpenSHMEM.
find "$out/openmpi" -regextype egrep -regex '.*/mca_([a-z]+_(ofi|ucx|psm2?|openib|usnic|portals4|oshmem)|(spml|sshmem|memheap|scoll|atomic)_.*)\.so' -delete
for program in mpirun orted; do cp -L "$(command -v $program)" "$out/openmpi/bin/$program"; done
pmix=$(dirname "$(readlink -f "$(ldconfig -p | awk '$1 == "libpmix.so.2" {print $NF; exit}')")")
mkdir -p "$out/pmix/lib"
cp -rL "$pmix/pmix" "$out/pmix/lib/pmix"

# Shared libraries that the other machine does not have: all but glibc's, the compiler's, libtorch's and CUDA's.
theirs='/(ld-linux[^/]*|lib(c|m|dl|rt|pthread|resolv|stdc\+\+|gcc_s|gomp))\.so|/torch/lib/|/nvidia/|/cuda[^/]*/'
theirs="$theirs|/lib(nccl|cuda|cudart|cupti|cublas|cusparse|cusolver|cufft|curand|nvrtc)[^/]*\.so"
find "$out/bin" "$out/openmpi" "$out/pmix" -type f \( -executable -o -name '*.so' \) -print0 | xargs -0 ldd 2>/dev/null |
  awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u | grep -vE "$theirs" |
  while IFS= read -r library; do cp -L "$library" "$out/lib/"; done

cat >"$out/env.sh" <<'ENV'
# Sourced on the GPU machine, with the Python whose torch is to be used on PATH.
_bundle=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
_site=$(python3 -c 'import importlib.util, os; print(os.path.dirname(os.path.dirname(importlib.util.find_spec("torch").origin)))')
_libraries=$_bundle/lib:$_site/torch/lib
for _folder in "$_site"/nvidia/*/lib; do [ -d "$_folder" ] && _libraries=$_libraries:$_folder; done
export PATH=$_bundle/bin:$_bundle/openmpi/bin:$PATH
export LD_LIBRARY_PATH=$_libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export OPAL_PREFIX=$_bundle/openmpi PMIX_INSTALL_PREFIX=$_bundle/pmix PMIX_MCA_mca_base_component_path=$_bundle/pmix/lib/pmix
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
unset _bundle _site _libraries _folder
ENV

size_mib=$(du -sm "$out" | cut -f1)
say "$out: ${#programs[@]} programs, $(find "$out/lib" -type f | wc -l) libraries, $size_mib MiB"
[ "$size_mib" -le "$limit_mib" ] || fail "$out is larger than $limit_mib MiB: leave out benchmarks"
