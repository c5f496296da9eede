#!/usr/bin/env bash
# Installs the pinned clients once, into ${RINGWALL_CACHE:-$HOME/.cache/ringwall}/clients-<hash of the pins>.
# Prints that folder as the last line of its standard output; everything else goes to standard error.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf 'clients: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

for tool in python3 node npm sha256sum; do
  command -v "$tool" >/dev/null || die "\`$tool\` is missing: apt-get install python3 python3-venv nodejs npm"
done
node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' ||
  die "the TypeScript clients need Node.js 20 or newer; this is $(node --version)"

hash=$(cat requirements.txt package.json package-lock.json <(python3 --version) <(node --version) |
  sha256sum | cut -c1-16)
cache=${RINGWALL_CACHE:-$HOME/.cache/ringwall}
folder=$cache/clients-$hash

if [ ! -e "$folder/complete" ]; then
  say "installing into $folder (once; the pins decide when again)"
  rm -rf "$folder"
  mkdir -p "$folder"
  python3 -m venv "$folder/venv" >&2 || die "no virtual environment: apt-get install python3-venv"
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt >&2 ||
    die "pip could not install requirements.txt"
  cp package.json package-lock.json "$folder/"
  (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error >&2) || die "npm could not install package.json"
  : >"$folder/complete"
else
  say "already installed in $folder"
fi
printf '%s\n' "$folder"
