#!/bin/sh
# Trains the scores of the guard: bench/train/run.sh /path/to/corpora/dev
# Makes a venv with the pinned packages once, in ~/.cache/ringwall (or $RINGWALL_CACHE).
set -eu
here=$(dirname "$0")
venv=${RINGWALL_CACHE:-$HOME/.cache/ringwall}/train
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
fi
# One thread: sums in a fixed order, so that the same corpora give the same weights.
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 exec "$venv/bin/python" "$here/train.py" "$1"
