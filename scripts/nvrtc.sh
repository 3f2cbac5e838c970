#!/usr/bin/env bash
# Fetches NVRTC, CUDA's compiler of kernels, into .nvrtc in the repository root: tests compile every kernel, without a GPU.
#
#   scripts/nvrtc.sh
#
# Running it again is quick. CLARA_TEST_NVRTC names another folder that holds libnvrtc.so.13; nothing is fetched then.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
folder="$root/.nvrtc"
package=nvidia-cuda-nvrtc==13.0.88
files=(libnvrtc.so.13 libnvrtc-builtins.so.13.0)

fail() { echo "nvrtc: $*" >&2; exit 1; }

if [[ -n "${CLARA_TEST_NVRTC:-}" ]]; then
  [[ -e "$CLARA_TEST_NVRTC/${files[0]}" ]] \
    || fail "CLARA_TEST_NVRTC names $CLARA_TEST_NVRTC, which holds no ${files[0]}; correct it or unset it"
  exit 0
fi

# Two runs at once (make -j): one fetches, the other waits.
exec 9>"$root/.nvrtc.lock"
flock 9

if [[ -f "$folder/package" && "$(<"$folder/package")" == "$package" ]]; then
  exit 0
fi
case "$(uname -m)" in
  x86_64 | aarch64) ;;
  *) fail "there is no NVRTC for $(uname -m)" ;;
esac
echo "nvrtc: fetching $package (90 MB) into .nvrtc" >&2
unfinished="$(mktemp -d "$root/.nvrtc.XXXXXX")"
trap 'rm -rf "$unfinished"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$unfinished" "$package" \
  || fail "cannot fetch $package; check the network and the free disk space, then run this again"
python3 - "$unfinished" "${files[@]}" <<'PYTHON' || fail "the package $package does not hold ${files[*]}"
import pathlib, sys, zipfile

folder = pathlib.Path(sys.argv[1])
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in sys.argv[2:]:
        (member,) = (member for member in archive.namelist() if member.endswith("/lib/" + name))
        (folder / name).write_bytes(archive.read(member))
wheel.unlink()
PYTHON
printf '%s\n' "$package" >"$unfinished/package"
chmod 755 "$unfinished"
rm -rf "$folder"
mv "$unfinished" "$folder"
