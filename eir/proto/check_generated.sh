#!/usr/bin/env bash
# The generated modules are those that `make proto` makes now.
set -euo pipefail
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
.venv/bin/python -m grpc_tools.protoc -I. --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" eir/proto/*.proto
for made in "$out"/eir/proto/*; do
  cmp -s "$made" "eir/proto/$(basename "$made")" || { echo "eir/proto/$(basename "$made") is not what make proto makes: run it and commit" >&2; exit 1; }
done
