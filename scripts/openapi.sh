#!/usr/bin/env bash
# Validates the description of the REST interface against OpenAPI 3.1, with a validator from PyPI.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check openapi-spec-validator==0.9.0
"$work/venv/bin/openapi-spec-validator" "$root/coordinator/src/web/openapi.json"
