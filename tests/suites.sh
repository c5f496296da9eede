#!/usr/bin/env bash
# The attack suites from the shared folder beside the repository, against the gateway with config/suites.toml, and each
# against its negative control as well: a suite that the control passes proves nothing.
# RINGWALL_BIN names a binary to use, SHARED the shared folder; ONLY=desync,pathacl runs some of them; CONTROL=no leaves the controls out.
set -euo pipefail
cd "$(dirname "$0")/.."

suites=${SHARED:-$PWD/../shared}/suites/edge
[ -d "$suites" ] || { echo "suites: there is no $suites; nothing was tested" >&2; exit 1; }
ringwall=${RINGWALL_BIN:-target/debug/ringwall}
[ -n "${RINGWALL_BIN:-}" ] || cargo build --locked --quiet
front=19000 origin=19001 guarded=19005 naive=19010
folder=$(mktemp -d)
pids=()
passed=0 failed=0
began=$SECONDS

end() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap end EXIT

listens() { # listens PORT: waits until somebody does
  for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
    sleep 0.1
  done
  echo "suites: nobody listens on $1" >&2
  cat "$folder/log" >&2
  return 1
}

verdict() { # verdict NAME OK SAID
  if [ "$2" = yes ]; then
    passed=$((passed + 1))
    echo "  pass  $1: $3"
  else
    failed=$((failed + 1))
    echo "  FAIL  $1: $3"
    cat "$folder/said"
  fi
}

wanted() { [ -z "${ONLY:-}" ] || [[ ",$ONLY," == *",$1,"* ]]; }

# attack NAME RULE COMMAND...: the figures that RULE prints must be what it expects, and end in `ok`.
# RULE is a Python expression over `said`, the suite's output, and `n`, a finder of one number in it.
attack() {
  local name=$1 rule=$2
  shift 2
  timeout 150 "$@" >"$folder/said" 2>&1 || true
  local ok
  ok=$(judge "$rule")
  verdict "$name" "$ok" "$(summary)"
}

# control NAME RULE COMMAND...: the same rule must not hold for a proxy that is known to be bad.
control() {
  [ "${CONTROL:-yes}" = yes ] || return 0
  local name=$1 rule=$2
  shift 2
  timeout 60 "$@" >"$folder/said" 2>&1 || true
  local ok=yes
  # A suite that did not run to its end proves nothing either.
  [ "$(judge "$rule")" = no ] && [ "$(judge "$ended")" = yes ] || ok=no
  verdict "$name, negative control" "$ok" "$(summary)"
}

judge() {
  python3 - "$1" "$folder/said" <<'PY'
import re, sys
said = open(sys.argv[2]).read()
def n(pattern):
    found = re.findall(pattern, said)
    return float(found[-1]) if found else None
try:
    print("yes" if eval(sys.argv[1]) else "no")
except TypeError:
    print("no")
PY
}

summary() { grep -E "$line" "$folder/said" | tail -1 | cut -c1-200; }

start_origin() {
  python3 tests/attacks/origin.py $origin &
  origin_pid=$!
  pids+=("$origin_pid")
  listens $origin
}

stop_origin() { kill "$origin_pid"; wait "$origin_pid" 2>/dev/null || true; }

# with PROXY NAME RULE COMMAND...: starts a bad proxy for one control and ends it.
with() {
  [ "${CONTROL:-yes}" = yes ] || return 0
  python3 "$1" $naive $origin >/dev/null 2>&1 &
  local pid=$!
  echo "$pid" >"$folder/naive"
  pids+=("$pid")
  listens $naive
  shift
  control "$@"
  # A control may have replaced it.
  kill "$(cat "$folder/naive")" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

with_naive() { with "$suites/naiveproxy.py" "$@"; }
with_bad() { with tests/attacks/badproxy.py "$@"; }

"$ringwall" serve --config config/suites.toml --set "audit.folder=$folder/audit" >"$folder/log" 2>&1 &
gateway=$!
pids+=("$gateway")
listens $front

if wanted desync; then
  line='payloads in' ended='"payloads in" in said'
  rule='"475 payloads" in said and not re.search("DESYNC|hard|crash|flag:|valid-FAIL|reject-FAIL", said)'
  attack desync "$rule" python3 "$suites/desync.py" "$suites/desync-core.jsonl" $front $origin --idle 0.15
  rule='not re.search("DESYNC|hard|flag:spoof", said)'
  with_naive desync "$rule" python3 "$suites/desync.py" "$suites/desync-core.jsonl" $naive $origin \
    --maxwait 0.3 --only own
fi

if wanted pathacl; then
  line='variants:' ended='"variants:" in said'
  rule='n(r"BYPASSABLE=(\d+)") == 0 and n(r"denied403=(\d+)") > 0'
  attack pathacl "$rule" python3 "$suites/pathacl.py" $front $origin
  with_bad pathacl "$rule" python3 "$suites/pathacl.py" $naive $origin
fi

if wanted badorigin; then
  line='^violations' ended='"violations" in said'
  rule='n(r"violations (\d+)") == 0 and re.search("^ok +status=200 +complete", said, re.M)'
  attack badorigin "$rule" python3 "$suites/badorigin.py" $front $origin
  with_bad badorigin "$rule" python3 "$suites/badorigin.py" $naive $origin
fi

if wanted evasion; then
  line='cases \{|^leaks' ended='"cases" in said'
  rule='"LEAK" not in said and n(r"must:masked.: (\d+)") > 0 and n(r"should:masked.: (\d+)") > 0'
  attack evasion "$rule" python3 "$suites/evasion.py" $guarded $origin
  with_bad evasion "$rule" python3 "$suites/evasion.py" $naive $origin
fi

start_origin

if wanted h11probe; then
  line="'pass'" ended="\"'pass'\" in said"
  rule="n(r\"'pass': (\\d+)\") >= 115 and n(r\"'FAIL': (\\d+)\") == 0"
  attack h11probe "$rule" python3 "$suites/h11probe.py" "$suites/h11probe-cases.json" $front
  with_naive h11probe "$rule" python3 "$suites/h11probe.py" "$suites/h11probe-cases.json" $naive
fi

if wanted json; then
  line='files, wrong' ended='"files, wrong" in said'
  rule='n(r"^(\d+) files") == 283 and n(r"wrong (\d+)") == 0'
  attack json "$rule" python3 tests/attacks/jsonsuite.py "$suites/json/test_parsing" $guarded
  with_naive json "$rule" python3 tests/attacks/jsonsuite.py "$suites/json/test_parsing" $naive
fi

if wanted ssecheck; then
  line='^proxy|vanished' ended='"proxy:" in said'
  rule='re.search(r"proxy: (\d+)/\1 streams, in-order-complete \1, clean end \1,", said)
    and n(r"open streams -> (\d+)") == 0 and n(r"after ([\d.]+)s") <= 1'
  rule=${rule//$'\n'/ }
  attack ssecheck "$rule" python3 "$suites/ssecheck.py" $front $origin 400
  grep -E '^(direct|proxy)' "$folder/said" || true
  with_bad ssecheck "$rule" python3 "$suites/ssecheck.py" $naive $origin 20
fi

if wanted reload; then
  line='reloads in' ended='"reloads in" in said'
  rule='n(r"FAILED (\d+)") == 0 and n(r"refused (\d+)") == 0 and n(r"ok (\d+)") > 1000'
  attack reload "$rule" python3 "$suites/reload.py" $front "kill -s HUP $gateway" 20 20 32
  # Without this a gateway that ignores the signal would pass.
  reloads=$(grep -c 'reload: configuration .* serves' "$folder/log" || true)
  echo "$reloads configurations were deployed" >"$folder/said"
  # Reloads that are asked for while one compiles its rules, seconds in a debug build, become one.
  line=deployed
  verdict 'reload, deployed' "$([ "$reloads" -ge 3 ] && echo yes || echo no)" "$(summary)"
  line='reloads in'
  # A proxy that is ended and started again is no reload.
  again="kill \$(cat $folder/naive); python3 $suites/naiveproxy.py $naive $origin & echo \$! >$folder/naive"
  with_naive reload "$rule" python3 "$suites/reload.py" $naive "$again" 3 4 8
fi

stop_origin
kill -0 "$gateway" || { echo "suites: the gateway died" >&2; failed=$((failed + 1)); }
"$ringwall" audit verify "$folder/audit" >"$folder/said" 2>&1 || { cat "$folder/said"; failed=$((failed + 1)); }
echo "suites: $passed passed, $failed failed in $((SECONDS - began)) s"
[ "$failed" = 0 ]
