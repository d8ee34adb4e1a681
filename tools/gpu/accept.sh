#!/usr/bin/env bash
# The proof of all that runs on CUDA, on any machine with a CUDA PyTorch and no internet: what `make gpu` calls.
#
#   PYTHON=python3 OUT=gpu-out LIMIT=480 WHEELS=wheels STAGES= tools/gpu/accept.sh
#
# PYTHON is the one that has PyTorch; WHEELS holds what it may lack (`make gpu-wheels`); results go to OUT, stage by
# stage, within LIMIT seconds; STAGES names those wanted, such as 'tests monitor', else it is all. Exit 0 where every
# stage passed or had nothing to do, 1 otherwise.
set -u
started=$SECONDS
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3} OUT=${OUT:-gpu-out} LIMIT=${LIMIT:-480} WHEELS=${WHEELS:-wheels}

fail() { echo "gpu: $*" >&2; exit 1; }
command -v "$PYTHON" >/dev/null || fail "no $PYTHON here; name the Python that has PyTorch: make gpu PYTHON=/path/to/python3"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
  fail "Python 3.10 or newer is needed, and $PYTHON is $("$PYTHON" --version 2>&1 | head -n 1); set PYTHON=/path/to/python3"
"$PYTHON" -m pip --version >/dev/null 2>&1 || fail "$PYTHON has no pip, which installs the wheels; install it, or set PYTHON="
case $LIMIT in '' | *[!0-9]*) fail "LIMIT=$LIMIT: expected a number of seconds" ;; esac
{ mkdir -p "$OUT" && touch "$OUT/.writable" && rm "$OUT/.writable"; } 2>/dev/null || fail "OUT=$OUT: cannot be written; choose another folder"

environment=$(mktemp -d) || fail "no room for an environment in ${TMPDIR:-/tmp}; set TMPDIR"
trap 'rm -rf "$environment"' EXIT
"$PYTHON" tools/gpu/environment.py "$environment/venv" --wheels "$WHEELS" || exit 1
"$environment/venv/bin/python" tools/gpu/accept.py --out "$OUT" --only "${STAGES:-}" --limit $((LIMIT - SECONDS + started))
