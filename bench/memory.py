#!/usr/bin/env python3
"""Resident memory of one gateway, guards on: idle connections, live streams, readers that stall.

    bench/memory.py [--binary target/release/ringwall] [--idle 10000] [--streams 1000]

What is measured is the process, by /proc: its resident memory before and while something is held, and
its peak while something flows. The kernel's socket buffers are not in it. Writes
target/memory/summary.json. Exits with 1 when a figure is over its limit.
"""

import argparse
import asyncio
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "target" / "memory"
UPSTREAM, GATEWAY, ADMIN = 18199, 18180, 18190
KB, MB = 1024, 1_000_000
STALLED = 200
LONG_BYTES, STALLS, STALL_SECONDS = 200 * MB, 10, 1.0
# What is given for the guard's window: the longest word that a stream may be held back for.
WINDOW = 1 * KB

CONFIG = f"""
version = 1
[gateway]
listen = ["127.0.0.1:{GATEWAY}"]
admin = "127.0.0.1:{ADMIN}"
workers = 1
[bounds]
connections_per_address = 20000
write_rate = "0 B"
[deadlines]
idle = "10m"
write = "10m"
[[caller]]
name = "memory"
anonymous = true
[[rule]]
name = "all"
effect = "allow"
callers = ["memory"]
models = ["*"]
[[provider]]
name = "upstream"
url = "http://127.0.0.1:{UPSTREAM}/v1"
idle_connections = 0
[[model]]
name = "m"
routes = ["upstream/m"]
[audit]
folder = "{OUT}/audit"
"""


# ---------------------------------------------------------------- the upstream

def events(count, text):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    event = json.dumps({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]})
    data = f"data: {event}\n\n".encode() * count
    return b"%x\r\n%s\r\n" % (len(data), data)


async def upstream(reader, writer):
    """Streams as the prompt says: `steady` an event in half a second, `flood` as many bytes as fit."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if b": " in line)
        body = await reader.readexactly(int(fields[b"content-length"]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        if b"steady" in body:
            while True:
                writer.write(events(1, "and a word "))
                await writer.drain()
                await asyncio.sleep(0.5)
        piece, sent = events(16, "many plain words, said again and again; " * 25), 0
        while sent < LONG_BYTES:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


# ---------------------------------------------------------------- the clients

LIST = b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\n\r\n"


def chat(prompt):
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


async def connect(request, limit=2 * KB):
    reader, writer = await asyncio.open_connection("127.0.0.1", GATEWAY, limit=limit)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"refused: {head[:100]!r}")
    return reader, writer


async def many(count, request):
    """So many connections that have sent that and were answered 200, a few at a time."""
    gate, held = asyncio.Semaphore(50), []

    async def one():
        async with gate:
            held.append(await connect(request))

    await asyncio.gather(*(one() for _ in range(count)))
    return held


async def let_go(held):
    for _, writer in held:
        writer.transport.abort()
    await asyncio.sleep(2)


# ---------------------------------------------------------------- what is measured

def status(process, name):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * KB
    raise RuntimeError(f"no {name}")


def resident(process):
    return status(process, "VmRSS")


def forget_peak(process):
    pathlib.Path(f"/proc/{process.pid}/clear_refs").write_text("5")


async def settled(process):
    """What is resident once that no longer grows."""
    last = resident(process)
    for _ in range(20):
        await asyncio.sleep(0.5)
        now = resident(process)
        if abs(now - last) < 64 * KB:
            return now
        last = now
    return last


async def idle(process, count):
    before = await settled(process)
    held = await many(count, LIST)
    for reader, _ in held:
        reader._buffer.clear()
    after = await settled(process)
    await let_go(held)
    return (after - before) / count


async def live(process, count):
    before = await settled(process)
    held = await many(count, chat("steady"))
    drains = [asyncio.ensure_future(drain(reader)) for reader, _ in held]
    await asyncio.sleep(5)
    after = await settled(process)
    for task in drains:
        task.cancel()
    await let_go(held)
    return (after - before) / count


async def drain(reader):
    while await reader.read(64 * KB):
        pass


async def stalled(process, count):
    before = await settled(process)
    forget_peak(process)
    held = await many(count, chat("flood"))
    await asyncio.sleep(5)
    peak = status(process, "VmHWM")
    await let_go(held)
    return (peak - before) / count


async def long(process):
    """The peak while a long stream goes to a reader that stalls again and again."""
    before = await settled(process)
    forget_peak(process)
    reader, writer = await connect(chat("flood"), limit=64 * KB)
    read, stalls, said = 0, 0, b""
    while not said.endswith(b"0\r\n\r\n"):
        piece = await reader.read(256 * KB)
        if not piece:
            raise RuntimeError(f"it ended after {read} bytes")
        read, said = read + len(piece), (said + piece)[-16:]
        if read * (STALLS + 1) > LONG_BYTES * (stalls + 1) and stalls < STALLS:
            stalls += 1
            await asyncio.sleep(STALL_SECONDS)
    peak = status(process, "VmHWM")
    writer.close()
    if read < LONG_BYTES or stalls < STALLS:
        raise RuntimeError(f"only {read} bytes and {stalls} stalls")
    return peak - before


async def fresh(options, measured, *arguments):
    """One figure, of a process of its own: what an allocator keeps of an earlier load would hide it."""
    with open(OUT / "log", "ab") as log:
        process = subprocess.Popen([options.binary, "serve", "--config", OUT / "gateway.toml"], cwd=ROOT,
                                   stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        await ready(process)
        # What is allocated once, by whatever comes first, is nobody's own.
        await let_go(await many(20, LIST) + await many(2, chat("steady")) + await many(1, chat("flood")))
        return await measured(process, *arguments)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def measure(options):
    server = await asyncio.start_server(upstream, "127.0.0.1", UPSTREAM, backlog=4096)
    (OUT / "gateway.toml").write_text(CONFIG)
    each = [
        ("process that holds nothing", 0, settled),
        (f"{options.idle:,} idle connections, each", 7 * KB, idle, options.idle),
        (f"{options.streams:,} live streams, each", 16 * KB, live, options.streams),
        (f"{STALLED} readers that stall in a flood, each", 64 * KB + WINDOW, stalled, STALLED),
        (f"a stream of {LONG_BYTES // MB} MB to a reader that stalls {STALLS} times, at its peak", MB, long),
    ]
    rows = []
    for name, limit, measured, *arguments in each:
        rows.append((name, await fresh(options, measured, *arguments), limit))
        print(f"  {name}: {rows[-1][1] / KB:.1f} KiB", flush=True)
    server.close()
    return rows


async def ready(process):
    for _ in range(100):
        try:
            (await asyncio.open_connection("127.0.0.1", GATEWAY))[1].close()
            return
        except OSError:
            if process.poll() is not None:
                break
            await asyncio.sleep(0.1)
    sys.exit(f"memory: the gateway does not start: see {OUT}/log")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default=str(ROOT / "target/release/ringwall"))
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=1000)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < options.idle + 1000:
        sys.exit(f"memory: {options.idle} connections need as many descriptors; the limit is {hard}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for port in (UPSTREAM, GATEWAY, ADMIN):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                sys.exit(f"memory: somebody listens on {port} already")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    began = time.monotonic()
    rows = asyncio.run(measure(options))
    (OUT / "summary.json").write_text(json.dumps([list(row) for row in rows], indent=1))
    print("| | resident | at most |\n|---|---|---|")
    over = []
    for name, value, limit in rows:
        most = f"{limit / KB:.0f} KiB" if limit else "-"
        print(f"| {name} | {value / KB:,.1f} KiB | {most} |")
        if limit and value > limit:
            over.append(name)
    for name in over:
        print(f"FAIL  {name}: over its limit", file=sys.stderr)
    print(f"memory: {'over' if over else 'every figure within its limit'}; {time.monotonic() - began:.0f} s")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
