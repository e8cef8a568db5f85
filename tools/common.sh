# shellcheck shell=bash
# Shared by the shell scripts of the project; sourced, never run.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=$root/.deps
# shellcheck disable=SC2034  # used by the scripts that source this
torch_version=2.11.0

say() { printf '%s\n' "$*"; }
fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# as_root COMMAND...: directly as root, else with sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}
can_be_root() { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }

# missing_packages NAME|PURPOSE...: the lines whose Debian package is not installed.
missing_packages() {
  local line
  for line in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "${line%%|*}" 2>/dev/null)" = installed ] || printf '%s\n' "$line"
  done
}

# install_packages NAME|PURPOSE...: installs the missing ones; on failure prints them and returns 1.
install_packages() {
  command -v apt-get >/dev/null || return 0 # another system: what is missing shows when it is used
  local missing=() names=() line log
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  for line in "${missing[@]}"; do names+=("${line%%|*}"); done
  log=$(mktemp)
  if can_be_root; then
    say "installing ${#names[@]} system packages: ${names[*]}"
    if as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >"$log" 2>&1 &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${names[@]}" >>"$log" 2>&1; then
      rm -f "$log"
      return 0
    fi
    tail -n 5 "$log" >&2
  fi
  rm -f "$log"
  mapfile -t missing < <(missing_packages "$@")
  printf 'missing system packages:\n' >&2
  printf '%s\n' "${missing[@]}" | awk -F'|' '{printf "  %-30s %s\n", $1, $2}' >&2
  printf 'remedy: apt-get install %s  (as root; needs a Debian or Ubuntu mirror)\n' "${names[*]}" >&2
  return 1
}

# pip_install PYTHON WHAT_FOR PIP_ARGUMENTS...
pip_install() {
  local python=$1 what_for=$2
  shift 2
  "$python" -m pip install -q --disable-pip-version-check --retries 2 "$@" ||
    fail "pip could not install $what_for: check that a Python package index can be reached (pip download six)"
}

# make_venv DIR PURPOSE REQUIREMENT...: a virtual environment with these packages; nothing to do when it has them.
make_venv() {
  local dir=$1 purpose=$2
  shift 2
  [ "$(cat "$dir/.complete" 2>/dev/null)" != "$*" ] || return 0
  say "making $dir ($purpose)"
  if [ ! -x "$dir/bin/pip" ]; then
    python3 -m venv "$dir" || fail "python3 -m venv failed: install python3-venv (Debian: apt-get install python3-venv)"
  fi
  pip_install "$dir/bin/python" "$* for $purpose" "$@"
  printf '%s\n' "$*" >"$dir/.complete"
}

tools_venv() { make_venv "$deps/tools" "pip and model conversion" 'gguf>=0.10' 'numpy>=1.26' 'tokenizers>=0.20'; }

# build_jobs: parallel compilations that the cores and the memory (1.5 GiB each) allow.
build_jobs() {
  local cores memory_kib limit jobs
  cores=$(nproc)
  memory_kib=$(awk '/^MemAvailable/ {print $2}' /proc/meminfo)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
  if [ "$limit" != max ] && [ $((limit / 1024)) -lt "$memory_kib" ]; then memory_kib=$((limit / 1024)); fi
  jobs=$((memory_kib / 1572864))
  if [ "$jobs" -gt "$cores" ]; then jobs=$cores; fi
  if [ "$jobs" -lt 1 ]; then jobs=1; fi
  echo "$jobs"
}

# build PRESET [CONFIGURE_ARGUMENTS...]: configures and builds a preset quietly; on failure shows what went wrong.
build() {
  local preset=$1 log=$root/build/$1.log
  shift
  mkdir -p "$root/build"
  if ! (cd "$root" && cmake --preset "$preset" "$@") >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    fail "configuring preset $preset failed; the whole log: $log"
  fi
  say "building preset $preset with $(build_jobs) jobs"
  if ! (cd "$root" && cmake --build --preset "$preset" -j "$(build_jobs)") >>"$log" 2>&1; then
    grep -nE 'error|FAILED' "$log" | head -n 20 >&2 || true
    fail "building preset $preset failed; the whole log: $log"
  fi
}

# Open MPI refuses root and more ranks than cores unless told; sets mpirun_options for RANKS ranks.
prepare_mpi() {
  mpirun_options=(-n "$1")
  if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
  if [ "$(nproc)" -lt "$1" ]; then mpirun_options+=(--oversubscribe --bind-to none); fi
}
