#!/usr/bin/env bash
# Makes .venv in the repository root and installs one group of pinned Python packages into it.
#
#   scripts/python-env.sh peft     PyTorch, transformers and PEFT, to check and compare training (several GB)
#   scripts/python-env.sh openai   the OpenAI client, to check serving (a few MB)
#   scripts/python-env.sh signing  model_signing, to check signatures (a few MB)
#   scripts/python-env.sh ingest   datatrove, to compare ingest (1 GB)
#   scripts/python-env.sh uds3     chromadb, a Chroma server to read documents from (some 500 MB)
#   scripts/python-env.sh queue    Celery and Dramatiq, to compare the queue (a few MB)
#
# Running it again is quick: a group is installed anew only when its requirements changed.
# PYTHON names the interpreter for a new environment (default: python3; 3.11 or newer).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"

fail() { echo "python-env: $*" >&2; exit 1; }

case "${1:-}" in
  peft) requirements="$root/tests/peft/requirements.txt" ;;
  ingest) requirements="$root/tests/ingest/requirements.txt" ;;
  queue) requirements="$root/tests/queue_bench/requirements.txt" ;;
  openai) requirements="$root/tests/openai_client/requirements.txt" ;;
  signing) requirements="$root/tests/signing/requirements.txt" ;;
  uds3) requirements="$root/tests/uds3/requirements.txt" ;;
  *) fail "unknown group '${1:-}'; expected one of: peft, ingest, openai, queue, signing, uds3" ;;
esac
group="$1"

mkdir -p "$root/.venv"
# Two groups may be asked for at once (make -j): one installs, the other waits.
exec 9>"$venv/.lock"
flock 9

if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
  python="${PYTHON:-python3}"
  command -v "$python" >/dev/null || fail "no $python found; run scripts/setup.sh"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || fail "$("$python" --version) is too old; expected 3.11 or newer (set PYTHON to another interpreter)"
  "$python" -m venv "$venv" || fail "cannot make $venv with $python -m venv; run scripts/setup.sh"
fi

stamp="$venv/.installed-$group"
wanted="$(sha256sum <"$requirements")"
if [[ -f "$stamp" && "$(<"$stamp")" == "$wanted" ]]; then
  exit 0
fi
echo "python-env: installing the packages of '$group' into .venv" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" \
  || fail "cannot install $requirements; check the network and the free disk space, then run this again"
printf '%s\n' "$wanted" >"$stamp"
