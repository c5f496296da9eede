#!/usr/bin/env python3
"""Slow clients: slowhttptest against the release build, beside honest traffic.

    tests/slow.py [--binary target/release/ringwall] [--attackers 1200] [--only head,body,read]

Three attacks, each by more than a thousand connections at once: heads, bodies and reads that never
end. In each, none of their connections may live longer than the limit (head 15 s, body and read 30 s), as
the kernel knows the gateway's end of them, and wrk must get through, while all of them are there, at least 90 % of what it
gets through in the quiet before and after. The honest are 64 connections that think for ten
milliseconds after each answer: clients that ask as fast as they can would measure what slowhttptest
takes of their own core, and not what becomes of the gateway. That one has a core of its own; everybody
else shares the other.

nginx with the same upstream and its own defaults is the negative control: it keeps slow clients for a
minute, so the limits must not hold for it. Writes target/slow/summary.json. Exits with 1 when a rule
is broken, or the control keeps them all.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "target" / "slow"
UPSTREAM, RINGWALL, NGINX = 19001, 19000, 19002
LARGE_BYTES = 1_000_000
KEPT = 0.90
HONEST, THINK = 64, "function delay() return 10 end\n"
# Of each attack: what slowhttptest is told, and when the last attacker must be gone. Its options: -i and
# -n are the seconds between two bits of a request or two reads, -x and -z the bytes of one.
ATTACKS = {
    "head": ("-H -i 5 -x 16 -t GET", "/", 15),
    "body": ("-B -i 5 -x 16 -s 8192 -t POST", "/", 30),
    "read": ("-X -w 10 -y 20 -n 5 -z 32 -k 3", "/large", 30),
}
# How often quiet, attack and quiet are measured, and how many seconds of each.
ROUNDS, SECONDS = 3, 5

NGINX_COMMON = """
daemon off; master_process off; worker_processes 1; pid {out}/{name}.pid;
error_log {out}/{name}.error.log crit; worker_rlimit_nofile 20000;
events {{ worker_connections 16384; multi_accept on; }}
http {{
  access_log off; keepalive_requests 100000000; tcp_nodelay on; proxy_max_temp_file_size 0;
  client_body_temp_path {out}/{name}.b; proxy_temp_path {out}/{name}.p;
  fastcgi_temp_path {out}/{name}.f; uwsgi_temp_path {out}/{name}.u; scgi_temp_path {out}/{name}.s;
  {http}
}}
"""
NGINX_UPSTREAM = """
  server {{ listen 127.0.0.1:{port} backlog=4096; default_type text/plain;
    location = /large {{ alias {out}/large; }} location / {{ return 200 'an answer of the upstream'; }} }}
"""
NGINX_PROXY = """
  upstream origin {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
"""


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for port in (UPSTREAM, RINGWALL, NGINX):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                sys.exit(f"slow: somebody listens on {port} already")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    (OUT / "think.lua").write_text(THINK)
    (OUT / "large").write_bytes(b"x" * LARGE_BYTES)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("slow: two cores are needed, one for the gateway and one for everybody else")
    own, others = cores[-1], cores[0]
    started, rows = [], []
    try:
        started.append(nginx("upstream", NGINX_UPSTREAM.format(port=UPSTREAM, out=OUT), others))
        gateway = ringwall(options.binary, own)
        proxy = nginx("proxy", NGINX_PROXY.format(port=NGINX, upstream=UPSTREAM), own)
        started += [gateway, proxy]
        for port in (UPSTREAM, RINGWALL, NGINX):
            listens(port)
        for name in options.only:
            rows.append(measure("ringwall", RINGWALL, gateway, name, options, others))
            if options.control:
                rows.append(measure("nginx", NGINX, proxy, name, options, others))
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
    return report(rows, options)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default=str(ROOT / "target/release/ringwall"))
    parser.add_argument("--attackers", type=int, default=1200)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(ATTACKS))
    parser.add_argument("--no-control", dest="control", action="store_false")
    options = parser.parse_args()
    if options.attackers < 1000 or not set(options.only) <= set(ATTACKS):
        parser.error("a thousand attackers at least, of head, body and read")
    for tool in ("slowhttptest", "wrk", "nginx", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"slow: {tool} is missing")
    return options


def spawn(arguments, core, log):
    with open(OUT / log, "ab") as out:
        pinned = ["taskset", "-c", str(core), *map(str, arguments)]
        return subprocess.Popen(pinned, cwd=ROOT, stdout=out, stderr=out, stdin=subprocess.DEVNULL)


def nginx(name, http, core):
    file = OUT / f"{name}.conf"
    file.write_text(NGINX_COMMON.format(out=OUT, name=name, http=http))
    return spawn(["nginx", "-p", OUT, "-c", file], core, f"{name}.log")


def ringwall(binary, core):
    arguments = [binary, "serve", "--config", "config/suites.toml", "--set", f"audit.folder={OUT}/audit"]
    return spawn([*arguments, "--set", "gateway.workers=1"], core, "ringwall.log")


def listens(port):
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"slow: nobody listens on {port}: see {OUT}")


def honest(port, process, core):
    """What the honest get through in each second, and how much of a core the gateway took for it."""
    rates, shares, faults = [], [], []
    for _ in range(SECONDS):
        before, began = ticks(process), time.monotonic()
        command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{HONEST}", "-d1s", "-s", OUT / "think.lua",
                   f"http://127.0.0.1:{port}/"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
        used = (ticks(process) - before) / os.sysconf("SC_CLK_TCK")
        shares.append(used / (time.monotonic() - began))
        rates.append(float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1)))
        faults += re.findall(r"Socket errors: .*|Non-2xx .*", said)
    return rates, shares, faults


def ticks(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def middle(samples):
    return statistics.median(samples)


def measure(subject, port, process, name, options, core):
    """One attack, until its last attacker is gone, and the honest beside it."""
    flags, path, limit = ATTACKS[name]
    lives, held, faults = [], [], []
    quiet, loud = ([], []), ([], [])

    def listen_to(into):
        seen = honest(port, process, core)
        into[0].extend(seen[0])
        into[1].extend(seen[1])
        faults.extend(seen[2])

    for turn in range(ROUNDS if subject == "ringwall" else 1):
        listen_to(quiet)
        attack = spawn(
            ["slowhttptest", *flags.split(), "-c", options.attackers, "-r", options.attackers,
             "-l", limit + 30, "-p", 3, "-u", f"http://127.0.0.1:{port}{path}"],
            core, f"{subject}-{name}-{turn}.log")
        crowd = Crowd(port, options.attackers)
        crowd.gather()
        leash = Leash(attack)
        listen_to(loud)
        leash.off()
        crowd.watch()
        life = crowd.end(limit + 5)
        attack.terminate()
        attack.wait(15)
        listen_to(quiet)
        lives.append(life)
        held.append(len(crowd.members))
        print(f"  {subject} {name}: quiet {middle(quiet[0]):.0f}/s, attack {middle(loud[0]):.0f}/s; {held[-1]} attackers, "
              + (f"none for longer than {life:.1f} s" if life else "some stayed"), flush=True)
    return {"subject": subject, "attack": name, "limit": limit, "attackers": min(held),
            "gone": None if None in lives else max(lives), "failed": faults,
            "quiet": middle(quiet[0]), "kept": middle(loud[0]) / middle(quiet[0]),
            "processor": [middle(quiet[1]), middle(loud[1])]}


class Crowd(threading.Thread):
    """The attackers' connections, as the kernel knows the gateway's end of them: the attackers' own
    view says nothing, since one that reads slowly does not even read that it is gone."""

    def __init__(self, port, wanted):
        super().__init__(daemon=True)
        self.port, self.wanted = port, wanted
        self.members, self.over = {}, threading.Event()

    def gather(self):
        """Notes who connects, until all are there."""
        end = time.monotonic() + 8
        while time.monotonic() < end and len(self.members) < self.wanted:
            now = time.monotonic()
            for peer in connected(self.port):
                self.members.setdefault(peer, [now, now])
            time.sleep(0.1)

    def watch(self):
        self.start()

    def run(self):
        while not self.over.wait(0.25):
            now = time.monotonic()
            here = self.members.keys() & connected(self.port)
            for peer in here:
                self.members[peer][1] = now
            if not here:
                return

    def end(self, limit):
        """The longest life among them; nothing where one lived longer than that."""
        first = min(begun for begun, _ in self.members.values())
        self.join(max(0.0, first + limit + 5 - time.monotonic()))
        self.over.set()
        if self.is_alive():
            return None
        return max(seen - begun for begun, seen in self.members.values())


def connected(port):
    """The ports of all whose connection to that port is held here, in whatever state but the last."""
    peers = set()
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, near, far, state = line.split()[:4]
        # 06 is TIME_WAIT, 0A listens.
        if int(near.split(":")[1], 16) == port and state not in ("06", "0A"):
            peers.add(far)
    return peers


class Leash(threading.Thread):
    """Lets the attackers' tool run for a twentieth of the time. It looks at every connection in a loop and
    would take a third of the core that it shares with the honest; what it sends goes on all the same,
    a few bytes for each connection in five seconds."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.over = process, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.0025) and self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)
            self.over.wait(0.0475)
            self.process.send_signal(signal.SIGCONT)

    def off(self):
        self.over.set()
        self.join()


def report(rows, options):
    (OUT / "summary.json").write_text(json.dumps(rows, indent=1))
    print("\n| attack | who | attackers at once | longest life | honest throughput, quiet | kept | of a core, quiet | attack |\n|---|---|---|---|---|---|---|---|")
    broken = []
    for row in rows:
        gone = f"{row['gone']:.1f} s" if row["gone"] else f"more than {row['limit'] + 5} s"
        print(f"| slow {row['attack']} | {row['subject']} | {row['attackers']} | {gone} | {row['quiet']:.0f}/s "
              f"| {row['kept']:.0%} | {row['processor'][0]:.0%} | {row['processor'][1]:.0%} |")
        holds = row["gone"] is not None and row["gone"] <= row["limit"]
        if row["subject"] == "ringwall":
            if not holds:
                broken.append(f"slow {row['attack']}: attackers were kept beyond {row['limit']} s")
            if row["kept"] < KEPT:
                broken.append(f"slow {row['attack']}: honest traffic kept {row['kept']:.0%}, not {KEPT:.0%}")
            if row["attackers"] < 1000:
                broken.append(f"slow {row['attack']}: only {row['attackers']} attackers at once")
            if row["failed"]:
                broken.append(f"slow {row['attack']}: honest requests failed: {row['failed']}")
        elif holds:
            broken.append(f"slow {row['attack']}: the control lets them go too, so this shows nothing")
    for line in broken:
        print(f"FAIL  {line}", file=sys.stderr)
    print("slow: " + ("broken" if broken else "every limit held, and the control keeps its attackers"))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
