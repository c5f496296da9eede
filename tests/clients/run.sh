#!/usr/bin/env bash
# The official clients, unchanged: first straight to the demo upstreams, where nothing masks (which proves
# that the checks can fail), then through the gateway. Stops only what it started.
#
#   RINGWALL_BIN=FILE   use this binary instead of building one (the upstreams are built all the same)
#   ONLY=direct         leave the gateway out
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
started=()
clean_up() {
  local status=$?
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  if [ "$status" -ne 0 ]; then
    for log in "$work"/*.log; do
      [ -s "$log" ] && { echo "--- ${log##*/}, its last lines"; tail -n 25 "$log"; }
    done
  fi
  rm -rf "$work"
}
trap clean_up EXIT

say() { printf 'clients: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

# start NAME COMMAND…: in the background, its output in NAME.log
start() {
  local name=$1; shift
  "$@" >"$work/$name.log" 2>&1 </dev/null &
  started+=($!)
}

# wait_for NAME COMMAND…: until the command succeeds, at most 30 s, while the process lives
wait_for() {
  local name=$1 pid=${started[-1]}; shift
  for _ in $(seq 300); do
    "$@" >/dev/null 2>&1 && return 0
    kill -0 "$pid" 2>/dev/null || die "$name ended at once"
    sleep 0.1
  done
  die "$name was not ready within 30 s"
}

free_ports() {
  python3 - "$1" <<'PY'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(one.getsockname()[1] for one in held))
PY
}

answers() { # answers URL: with 200
  python3 -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=2)' "$1"
}

listens() { # listens PORT
  python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)' "$1"
}

suite() { # suite COMMAND…: its output is kept for the count; a failing suite does not stop the others
  "$@" 2>&1 | tee -a "$work/results" || true
}

python() { PYTHONPATH=tests/clients PYTHONDONTWRITEBYTECODE=1 "$folder/venv/bin/python" "$@"; }

folder=$(tests/clients/install.sh)
PATH=$folder/bin:$PATH
cargo build --quiet --locked --example upstreams
if [ "${ONLY:-}" != direct ] && [ -z "${RINGWALL_BIN:-}" ]; then
  cargo build --quiet --locked --bin ringwall
  RINGWALL_BIN=target/debug/ringwall
fi

start upstreams target/debug/examples/upstreams
wait_for upstreams grep -q '^mcp ' "$work/upstreams.log"
model=$(awk '/^model / { print $2 }' "$work/upstreams.log")
mcp=$(awk '/^mcp / { print $2 }' "$work/upstreams.log")
read -r gateway admin everything < <(free_ports 3)
modules=$folder/node_modules/@modelcontextprotocol
PORT=$everything start everything \
  node --require ./tests/clients/loopback.cjs "$modules/server-everything/dist/index.js" streamableHttp
wait_for everything listens "$everything"

export RINGWALL_CLIENTS=$folder RINGWALL_KEY=suite-key RINGWALL_LIMITED_KEY=limited-key RINGWALL_MODEL=demo-model
suites=0

direct() {
  export RINGWALL_DIRECT=1
  say "straight to the demo upstreams, where nothing masks"
  for client in openai_chat openai_responses anthropic_messages; do
    RINGWALL_URL=http://$model suite python "tests/clients/$client.py"
  done
  export RINGWALL_URL=http://$mcp RINGWALL_MCP_PATH=/mcp
  suite python tests/clients/mcp_client.py
  suite node tests/clients/mcp_client.mjs
  unset RINGWALL_DIRECT RINGWALL_URL RINGWALL_MCP_PATH
  suites=$((suites + 5))
}

digest() { printf %s "$1" | sha256sum | cut -d' ' -f1; }

through_the_gateway() {
  sed -e "s|%GATEWAY%|127.0.0.1:$gateway|; s|%ADMIN%|127.0.0.1:$admin|; s|%AUDIT%|$work/audit|" \
    -e "s|%MODEL%|$model|; s|%MCP%|$mcp|; s|%EVERYTHING%|127.0.0.1:$everything|" \
    -e "s|%SUITE_DIGEST%|$(digest suite-key)|; s|%LIMITED_DIGEST%|$(digest limited-key)|" \
    tests/clients/gateway.toml.in >"$work/gateway.toml"
  "$RINGWALL_BIN" check "$work/gateway.toml"
  start gateway "$RINGWALL_BIN" serve --config "$work/gateway.toml"
  wait_for gateway answers "http://127.0.0.1:$admin/readyz"
  say "through the gateway"
  export RINGWALL_URL=http://127.0.0.1:$gateway
  export RINGWALL_MCP_PATH=/mcp/demo RINGWALL_EVERYTHING_PATH=/mcp/everything
  for client in openai_chat openai_responses anthropic_messages; do
    suite python "tests/clients/$client.py"
  done
  suite python tests/clients/mcp_client.py
  suite node tests/clients/mcp_client.mjs
  suites=$((suites + 5))
}

direct
[ "${ONLY:-}" = direct ] || through_the_gateway

# Each suite ends with `NAME: N passed, N failed`; one that did not has crashed and counts as failed.
ended=$(grep -cE '^[^ ].*: [0-9]+ passed, [0-9]+ failed$' "$work/results" || true)
read -r passed failed < <(sed -nE 's/^[^ ].*: ([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$work/results" |
  awk '{ passed += $1; failed += $2 } END { print passed + 0, failed + 0 }')
failed=$((failed + suites - ended))
echo "clients: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
