#!/usr/bin/env python3
"""CPU per request and throughput of Ringwall against plain nginx, in one run.

Each gateway is one process on core 0; the load generator (wrk) and the upstream (a second nginx that
answers about 1 KiB from memory) share core 1. All see the same POST with a 2 KiB prompt. Rounds are
interleaved, so that a noisy moment meets everybody, and medians are compared. Absolute numbers hold on
no shared machine; the ratios to nginx do.

Writes target/bench/summary.json. Exits with 1 when any request failed.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "target" / "bench"
UPSTREAM_PORT = 18099
PATH = "/v1/chat/completions"
PROMPT_BYTES = 2048
PROSE = (
    "The harbour was quiet that morning, and the boats lay so still that one could count the planks in "
    "their reflections. A gull walked along the quay as if it were paid to inspect it. Nobody hurried; "
    "the nets were mended, the coffee was strong, and the letter could wait until the afternoon. "
)

NGINX = """
daemon off; master_process off; worker_processes 1; pid {out}/{name}.pid;
error_log {out}/{name}.error.log warn;
events {{ worker_connections 4096; multi_accept on; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; tcp_nodelay on;
  client_body_buffer_size 64k;
  client_body_temp_path {out}/{name}.body; proxy_temp_path {out}/{name}.proxy;
  fastcgi_temp_path {out}/{name}.f; uwsgi_temp_path {out}/{name}.u; scgi_temp_path {out}/{name}.s;
  {http}
}}
"""
NGINX_UPSTREAM = """
  server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json; location / {{ return 200 '{answer}'; }} }}
"""
NGINX_PROXY = """
  upstream model {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; keepalive_timeout 600s; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
"""


def main() -> int:
    options = arguments()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    if (os.cpu_count() or 1) < 2:
        sys.exit("bench: two cores are needed, one for the gateway and one for the load")
    body = OUT / "body.json"
    body.write_text(request(PROMPT_BYTES))
    started: list[subprocess.Popen] = []
    try:
        started.append(nginx("upstream", NGINX_UPSTREAM.format(port=UPSTREAM_PORT, answer=answer()), core=1))
        subjects = [subject(name, options, started) for name in options.subjects]
        rounds = measure(subjects, body, options)
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
    return report(rounds, options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default=str(ROOT / "target/release/ringwall"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement, after one to warm up")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument(
        "--subjects", default="nginx,no-guards,full", type=lambda text: text.split(","), help="nginx first"
    )
    return parser.parse_args()


def answer() -> str:
    """About 1 KiB, as a provider answers. Without a quote or a backslash of its own."""
    text = (PROSE * 4)[:640].replace("'", "")
    return json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "bench-model",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 420, "completion_tokens": 130, "total_tokens": 550},
        }
    )


def request(prompt_bytes: int) -> str:
    prompt = (PROSE * (prompt_bytes // len(PROSE) + 1))[:prompt_bytes]
    return json.dumps({"model": "bench-model", "messages": [{"role": "user", "content": prompt}]})


def nginx(name: str, http: str, core: int) -> subprocess.Popen:
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    config = OUT / f"{name}.conf"
    config.write_text(NGINX.format(name=name, out=OUT, http=http))
    return start(name, [binary, "-e", f"{OUT}/{name}.error.log", "-p", str(OUT), "-c", str(config)], core)


def start(name: str, command: list[str], core: int) -> subprocess.Popen:
    log = open(OUT / f"{name}.log", "wb")
    return subprocess.Popen(
        ["taskset", "-c", str(core), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT
    )


def subject(name: str, options: argparse.Namespace, started: list) -> dict:
    if name == "nginx":
        port = 18081
        started.append(nginx(name, NGINX_PROXY.format(port=port, upstream=UPSTREAM_PORT), core=0))
    else:
        port = {"full": 18080, "no-guards": 18082}[name]
        if not os.access(options.binary, os.X_OK):
            sys.exit(f"bench: {options.binary} is not there: cargo build --release")
        command = [options.binary, "serve", "--config", f"bench/{name}.toml"]
        started.append(start(name, command, core=0))
    wait_for(name, port, started[-1])
    first_answer(name, port)
    return {"name": name, "port": port, "pid": started[-1].pid}


def wait_for(name: str, port: int, process: subprocess.Popen) -> None:
    for _ in range(300):
        if process.poll() is not None:
            sys.exit(f"bench: {name} ended at once:\n{(OUT / f'{name}.log').read_text()[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"bench: {name} does not listen on port {port}")


def first_answer(name: str, port: int) -> None:
    """What is measured must work: one request, and the upstream's answer as it was said."""
    headers = {"content-type": "application/json", "authorization": "Bearer bench-key"}
    data = request(PROMPT_BYTES).encode()
    got = urllib.request.urlopen(
        urllib.request.Request(f"http://127.0.0.1:{port}{PATH}", data, headers), timeout=10
    ).read()
    if json.loads(got) != json.loads(answer()):
        sys.exit(f"bench: {name} gives another answer than the upstream: {got[:300]!r}")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads and the children it waited for."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def load(port: int, body: pathlib.Path, seconds: int, connections: int) -> dict:
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["-s", str(ROOT / "bench/post.lua"), f"http://127.0.0.1:{port}{PATH}"]
    done = subprocess.run(
        command, env={**os.environ, "BENCH_BODY": str(body)}, capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("summary ")]
    return json.loads(lines[-1].removeprefix("summary "))


def measure(subjects: list[dict], body: pathlib.Path, options: argparse.Namespace) -> dict[str, list[dict]]:
    rounds: dict[str, list[dict]] = {subject["name"]: [] for subject in subjects}
    for number in range(1, options.rounds + 1):
        for subject in subjects:
            load(subject["port"], body, 1, options.connections)
            before = cpu_seconds(subject["pid"])
            result = load(subject["port"], body, options.seconds, options.connections)
            spent = cpu_seconds(subject["pid"]) - before
            requests = max(result["requests"], 1)
            result["requests_per_second"] = requests / (result["micros"] / 1e6)
            result["cpu_us_per_request"] = spent * 1e6 / requests
            result["core_busy"] = spent / (result["micros"] / 1e6)
            result["memory_mib"] = memory_mib(subject["pid"])
            rounds[subject["name"]].append(result)
            print(
                f"round {number} {subject['name']:<10} {result['requests_per_second']:9.0f} requests/s "
                f"{result['cpu_us_per_request']:8.1f} us CPU/request, core {result['core_busy']:.0%} busy",
                file=sys.stderr,
                flush=True,
            )
    return rounds


def to_nginx(own: list[dict], base: list[dict] | None, key: str) -> float | None:
    """The median of each round's ratio: the two stood side by side in time."""
    return statistics.median(one[key] / other[key] for one, other in zip(own, base)) if base else None


def report(rounds: dict[str, list[dict]], options: argparse.Namespace) -> int:
    titles = {"nginx": "nginx, plain", "no-guards": "Ringwall, guards off", "full": "Ringwall, all gates"}
    keys = ["requests_per_second", "cpu_us_per_request", "core_busy", "p50_us", "p99_us", "memory_mib"]
    medians = {
        name: {key: statistics.median(result[key] for result in results) for key in keys}
        for name, results in rounds.items()
    }
    base = rounds.get("nginx")
    failed = sum(result["refused"] + result["broken"] for results in rounds.values() for result in results)
    print(f"\n{PROMPT_BYTES} byte prompts, {options.connections} connections, one core; medians of {options.rounds} rounds\n")
    print(f"{'':<22}{'requests/s':>12}{'x nginx':>9}{'CPU us/req':>12}{'x nginx':>9}{'p99 ms':>9}{'MiB':>7}")
    for name, median in medians.items():
        cpu, rate = median["cpu_us_per_request"], median["requests_per_second"]
        median["cpu_ratio"] = to_nginx(rounds[name], base, "cpu_us_per_request")
        median["rate_ratio"] = to_nginx(rounds[name], base, "requests_per_second")
        ratio = lambda value: f"{value:9.2f}" if value is not None else f"{'-':>9}"  # noqa: E731
        print(
            f"{titles.get(name, name):<22}{rate:12.0f}{ratio(median['rate_ratio'])}{cpu:12.1f}"
            f"{ratio(median['cpu_ratio'])}{median['p99_us'] / 1000:9.2f}{median['memory_mib']:7.0f}"
        )
    summary = {
        "format": 1,
        "prompt_bytes": PROMPT_BYTES,
        "connections": options.connections,
        "seconds": options.seconds,
        "failed_requests": failed,
        "medians": medians,
        "rounds": rounds,
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"\n{OUT.relative_to(ROOT)}/summary.json has every round")
    if failed:
        print(f"bench: {failed} requests failed; the numbers mean nothing", file=sys.stderr)
    return 1 if failed else 0


sys.exit(main())
