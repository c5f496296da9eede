#!/usr/bin/env python3
"""Soak: mixed load with faults against one gateway, while its memory is watched.

    tests/soak.py [--binary target/release/ringwall] [--minutes 20] [--rate 80] [--seed 1]

Chats, streams, MCP calls and refusals at a bounded rate; clients that abort, read slowly or write
slowly; an upstream that is killed every ten seconds; a reload every fifteen, each fifth of a broken
file. It passes when resident memory is flat after minute two, every answered request id is in the
audit log exactly once, nothing wrong was read, and file descriptors return. The table goes to
target/soak/. Python's standard library only.
"""

import argparse
import asyncio
import collections
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request

KEY, LIMITED_KEY = "soak-key", "limited-key"
CARD = "4111 1111 1111 1111"
SAMPLE_SECONDS, RELOAD_SECONDS, KILL_SECONDS = 5, 15, 10
# What share of the load is what.
MIX = {
    "chat": 30, "stream": 20, "mcp": 14, "models": 6, "refused": 10, "flaky": 8, "flaky_stream": 4,
    "abort": 4, "slow_reader": 2, "slow_writer": 1, "reset": 1,
}
# Memory is flat where the medians of the two windows differ by no more than this.
FLAT_SHARE, FLAT_BYTES = 0.05, 4 << 20


# ---------------------------------------------------------------- the upstream

def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(text, finish=None):
    delta = {"content": text} if text else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: %s\n\n" % json.dumps(body).encode()


async def read_message(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.I)
    return head, await reader.readexactly(int(length.group(1))) if length else b""


def whole(body, more=b""):
    return (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s"
            % (more, len(body), body))


STREAM_HEAD = (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
               b"transfer-encoding: chunked\r\n\r\n")


async def say_chat(writer, body):
    asked = json.loads(body)
    prompt = asked["messages"][0]["content"]
    if not asked.get("stream"):
        message = {"role": "assistant", "content": f"You said: {prompt}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        answer = {"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}
        writer.write(whole(json.dumps(answer).encode()))
        return
    # A long one for slow readers; pieces of five characters, so that values are split.
    text = f"You said: {prompt}. " + "and so on " * (4000 if "[long]" in prompt else 4)
    writer.write(STREAM_HEAD)
    step = 1000 if "[long]" in prompt else 5
    for at in range(0, len(text), step):
        writer.write(chunk(event(text[at:at + step])))
        await writer.drain()
        if at % 50 == 0:
            await asyncio.sleep(0.01)
    writer.write(chunk(event("", "stop")) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


async def say_mcp(writer, head, body):
    asked = json.loads(body) if body else {}
    if asked.get("method") == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                  "serverInfo": {"name": "soak", "version": "1"}}
        answer = {"jsonrpc": "2.0", "id": asked["id"], "result": result}
        writer.write(whole(json.dumps(answer).encode(), b"mcp-session-id: upstream-session\r\n"))
        return
    if b"upstream-session" not in head:
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        return
    text = asked["params"]["arguments"]["text"]
    result = {"content": [{"type": "text", "text": f"Echo: {text}"}]}
    answer = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()
    if "[sse]" in text:
        data = b"event: message\ndata: %s\n\n" % answer
        writer.write(STREAM_HEAD + chunk(data) + b"0\r\n\r\n")
    else:
        writer.write(whole(answer))


async def upstream_connection(reader, writer):
    try:
        while True:
            head, body = await read_message(reader)
            if b"/mcp" in head.split(b"\r\n", 1)[0]:
                await say_mcp(writer, head, body)
            else:
                await say_chat(writer, body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, BrokenPipeError):
        pass
    finally:
        writer.close()


def upstream(port):
    async def serve():
        server = await asyncio.start_server(upstream_connection, "127.0.0.1", port, backlog=512)
        async with server:
            await server.serve_forever()
    asyncio.run(serve())


# ---------------------------------------------------------------- the gateway

def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


class Gateway:
    def __init__(self, binary, folder):
        self.folder = folder
        self.port, self.admin = free_port(), free_port()
        self.steady, self.flaky = free_port(), free_port()
        self.file = folder / "gateway.toml"
        self.write("mask")
        self.upstreams = {port: self.start_upstream(port) for port in (self.steady, self.flaky)}
        log = open(folder / "log", "wb")
        self.child = subprocess.Popen([binary, "serve", "--config", self.file], stdout=log, stderr=log)
        for _ in range(200):
            try:
                if self.get("/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        sys.exit("the gateway does not get ready: " + (folder / "log").read_text())

    def write(self, action):
        self.file.write_text(f"""version = 1
[gateway]
listen = ["127.0.0.1:{self.port}"]
admin = "127.0.0.1:{self.admin}"
workers = 2
[deadlines]
body = "5s"
write = "3s"
first_byte = "10s"
[audit]
folder = "{self.folder}/audit"
[[caller]]
name = "soak"
user = "soak@example.com"
app = "soak"
team = "tests"
keys = ["sha256:{digest(KEY)}"]
[[caller]]
name = "limited"
user = "limited@example.com"
app = "soak"
team = "tests"
keys = ["sha256:{digest(LIMITED_KEY)}"]
requests_per_minute = 60
[[rule]]
name = "tests"
effect = "allow"
teams = ["tests"]
models = ["*"]
[[rule]]
name = "tools"
effect = "allow"
teams = ["tests"]
servers = ["*"]
[[provider]]
name = "steady"
url = "http://127.0.0.1:{self.steady}/v1"
[[provider]]
name = "flaky"
url = "http://127.0.0.1:{self.flaky}/v1"
[[model]]
name = "steady"
routes = ["steady/steady"]
[[model]]
name = "fallback"
routes = ["flaky/flaky", "steady/steady"]
[[mcp_server]]
name = "soak"
url = "http://127.0.0.1:{self.steady}/mcp"
[guard]
enabled = true
[[guard.action]]
rule = "pii.card"
request = "mask"
response = "{action}"
""")

    def start_upstream(self, port):
        return subprocess.Popen([sys.executable, __file__, "--upstream", str(port)])

    def kill_flaky(self):
        self.upstreams[self.flaky].kill()
        self.upstreams[self.flaky].wait()

    def revive_flaky(self):
        self.upstreams[self.flaky] = self.start_upstream(self.flaky)

    def reload(self, nth):
        # Each fifth file is broken: the last good one goes on.
        if nth % 5 == 0:
            self.file.write_text("version = \"none\"\n")
        else:
            self.write("mask" if nth % 2 else "block")
        self.child.send_signal(signal.SIGHUP)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()

    def meters(self):
        found = collections.Counter()
        for line in self.get("/metrics")[1].splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                found[name.split("{")[0]] += float(value)
        return found

    def resident(self):
        text = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) * 1024

    def threads(self):
        text = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"Threads:\s+(\d+)", text).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def end(self):
        self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(timeout=60)
        for child in self.upstreams.values():
            child.kill()
            child.wait()
        return code


# ---------------------------------------------------------------- the load

class Load:
    def __init__(self, gateway, seed):
        self.gateway = gateway
        self.random = random.Random(seed)
        self.ids = []
        self.counts = collections.Counter()
        self.wrong = []
        self.idle = []
        self.session = None
        self.busy = 0

    async def connect(self, fresh=False):
        if self.idle and not fresh:
            return self.idle.pop()
        return await asyncio.open_connection("127.0.0.1", self.gateway.port, limit=1 << 20)

    def request(self, method, path, body=b"", key=KEY, more=""):
        head = (f"{method} {path} HTTP/1.1\r\nhost: soak\r\nauthorization: Bearer {key}\r\n"
                f"accept: application/json, text/event-stream\r\n{more}")
        if method == "POST":
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body

    def chat(self, model, prompt, stream=False):
        messages = [{"role": "user", "content": prompt}]
        body = {"model": model, "messages": messages, "stream": stream}
        return json.dumps(body).encode()

    async def head(self, reader):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        found = re.search(rb"\r\nx-request-id: (\S+)", head, re.I)
        if found:
            self.ids.append(found.group(1).decode())
        else:
            self.wrong.append(f"an answer without an id: {head!r}")
        return int(head.split(b" ", 2)[1]), head

    async def answer(self, reader):
        """Status, head and body; a stream that breaks off has no proper end."""
        status, head = await self.head(reader)
        length = re.search(rb"\r\ncontent-length: (\d+)", head, re.I)
        if length:
            return status, head, await asyncio.wait_for(reader.readexactly(int(length.group(1))), 30)
        body = b""
        while b"chunked" in head:
            size = int(await asyncio.wait_for(reader.readuntil(b"\r\n"), 30), 16)
            body += (await asyncio.wait_for(reader.readexactly(size + 2), 30))[:-2]
            if size == 0:
                break
        return status, head, body

    async def exchange(self, request):
        reader, writer = await self.connect()
        writer.write(request)
        status, head, body = await self.answer(reader)
        if b"connection: close" in head.lower() or len(self.idle) >= 32:
            writer.close()
        else:
            self.idle.append((reader, writer))
        return status, head, body

    def check(self, kind, good, what):
        if not good:
            self.wrong.append(f"{kind}: {what!r}"[:400])

    def word(self):
        return f"w{self.random.randrange(1 << 40)}w"

    async def do_chat(self, model="steady"):
        word = self.word()
        prompt = f"{word} pay with {CARD} please"
        status, _, body = await self.exchange(
            self.request("POST", "/v1/chat/completions", self.chat(model, prompt)))
        self.check("chat", status == 200 and word.encode() in body, (status, body))
        self.check("chat", CARD.encode() not in body, body)

    async def do_stream(self, model="steady"):
        word = self.word()
        prompt = f"{word} pay with {CARD} please"
        status, _, body = await self.exchange(
            self.request("POST", "/v1/chat/completions", self.chat(model, prompt, True)))
        text = "".join(json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
                       for line in body.decode().split("\n")
                       if line.startswith("data: {") and '"choices":[{' in line.replace(" ", ""))
        self.check("stream", status == 200 and word in text and "[DONE]" in body.decode(), body)
        self.check("stream", CARD not in text, text)

    async def do_flaky(self):
        await self.do_chat("fallback")

    async def do_flaky_stream(self):
        # Its upstream may die amid it: then the end is missing, and must be.
        try:
            await self.do_stream("fallback")
        except (asyncio.IncompleteReadError, ConnectionError):
            self.counts["cut"] += 1

    async def do_mcp(self):
        if not self.session:
            hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                "protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": {"name": "soak", "version": "1"}}}
            _, head, _ = await self.exchange(
                self.request("POST", "/mcp/soak", json.dumps(hello).encode()))
            self.session = re.search(rb"mcp-session-id: (\S+)", head, re.I).group(1).decode()
        word = self.word()
        text = f"{word} {CARD}" + (" [sse]" if self.random.random() < 0.5 else "")
        call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call",
                "params": {"name": "echo", "arguments": {"text": text}}}
        more = f"mcp-session-id: {self.session}\r\nmcp-protocol-version: 2025-06-18\r\n"
        status, _, body = await self.exchange(
            self.request("POST", "/mcp/soak", json.dumps(call).encode(), more=more))
        self.check("mcp", status == 200 and word.encode() in body, (status, body))
        self.check("mcp", CARD.encode() not in body, body)

    async def do_models(self):
        status, _, body = await self.exchange(self.request("GET", "/v1/models"))
        self.check("models", status == 200 and b"steady" in body, (status, body))

    async def do_refused(self):
        path, body = "/v1/chat/completions", self.chat("steady", "hi")
        request, allowed = self.random.choice([
            (self.request("POST", path, body, key="nobody"), {401}),
            (self.request("POST", path, b'{"a":1,"a":2}'), {400}),
            (self.request("POST", path, self.chat("none", "hi")), {403, 404}),
            (self.request("GET", "/nowhere"), {404}),
            (self.request("POST", path, body, key=LIMITED_KEY), {200, 429}),
            (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", {400}),
        ])
        status, _, body = await self.exchange(request)
        self.check("refused", status in allowed, (status, body))

    async def do_abort(self):
        reader, writer = await self.connect(fresh=True)
        request = self.request("POST", "/v1/chat/completions", self.chat("steady", "[long]", True))
        cut = self.random.choice([self.random.randrange(1, len(request)), len(request)])
        writer.write(request[:cut])
        await writer.drain()
        if cut == len(request):
            await self.head(reader)
            await asyncio.sleep(self.random.random() * 0.2)
        writer.close()

    async def do_reset(self):
        reader, writer = await self.connect(fresh=True)
        request = self.request("POST", "/v1/chat/completions", self.chat("steady", "[long]", True))
        writer.write(request)
        await self.head(reader)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async def do_slow_reader(self):
        reader, writer = await self.connect(fresh=True)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writer.write(self.request(
            "POST", "/v1/chat/completions", self.chat("steady", "[long]", True)))
        await self.head(reader)
        for _ in range(30):
            if not await asyncio.wait_for(reader.read(512), 30):
                break
            await asyncio.sleep(0.1)
        writer.close()

    async def do_slow_writer(self):
        reader, writer = await self.connect(fresh=True)
        request = self.request("POST", "/v1/chat/completions", self.chat("steady", "hi"))
        for byte in request[:60]:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        writer.write(request[60:])
        status, _, _ = await self.answer(reader)
        self.check("slow_writer", status == 200, status)
        writer.close()

    async def one(self, kind):
        self.busy += 1
        try:
            await getattr(self, f"do_{kind}")()
            self.counts[kind] += 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.TimeoutError) as error:
            self.wrong.append(f"{kind}: {type(error).__name__} {error}"[:300])
        finally:
            self.busy -= 1

    async def run(self, until, rate):
        kinds, weights = list(MIX), list(MIX.values())
        while time.monotonic() < until:
            if self.busy < 400:
                kind = self.random.choices(kinds, weights)[0]
                asyncio.ensure_future(self.one(kind))
            else:
                self.counts["held back"] += 1
            await asyncio.sleep(self.random.expovariate(rate))
        for _ in range(600):
            if not self.busy:
                break
            await asyncio.sleep(0.1)

    def close(self):
        for _, writer in self.idle:
            writer.close()
        self.idle.clear()


async def disturb(gateway, load, until):
    async def reloads():
        nth = 0
        while time.monotonic() < until:
            await asyncio.sleep(RELOAD_SECONDS)
            nth += 1
            gateway.reload(nth)
            load.counts["reloads"] += 1
        gateway.write("mask")

    async def deaths():
        while time.monotonic() < until:
            await asyncio.sleep(KILL_SECONDS)
            gateway.kill_flaky()
            await asyncio.sleep(1)
            gateway.revive_flaky()
            load.counts["upstream deaths"] += 1

    await asyncio.gather(reloads(), deaths())


async def sample(gateway, load, began, until, rows):
    while time.monotonic() < until:
        await asyncio.sleep(SAMPLE_SECONDS)
        meters = await asyncio.to_thread(gateway.meters)
        rows.append({
            "seconds": round(time.monotonic() - began), "resident": gateway.resident(),
            "descriptors": gateway.descriptors(), "threads": gateway.threads(),
            "connections": int(meters["ringwall_connections"]),
            "in_flight": int(meters["ringwall_in_flight"]),
            "records": int(meters["ringwall_audit_records_total"]),
            "answers": len(load.ids), "wrong": len(load.wrong),
        })


async def soak(gateway, load, minutes, rate, rows):
    began = time.monotonic()
    until = began + minutes * 60
    await asyncio.gather(
        load.run(until, rate), disturb(gateway, load, until),
        sample(gateway, load, began, until, rows))
    load.close()


# ---------------------------------------------------------------- the verdict

def middle(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def table(rows, minutes):
    lines = ["| minute | resident MB | descriptors | threads | connections | in flight | records | answers |",
             "|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for minute in range(int(minutes)):
        here = [row for row in rows if minute * 60 <= row["seconds"] < (minute + 1) * 60]
        if here:
            row = here[-1]
            resident = middle([row["resident"] for row in here]) / 1e6
            lines.append(f"| {minute + 1} | {resident:.1f} | {row['descriptors']} | {row['threads']} "
                         f"| {row['connections']} | {row['in_flight']} | {row['records']} "
                         f"| {row['answers']} |")
    return lines


def recorded(folder):
    found = collections.Counter()
    for file in sorted((folder / "audit").iterdir()):
        if not file.is_file():
            continue
        for line in file.read_bytes().splitlines():
            for name in re.findall(rb'"id":"([0-9a-zA-Z_-]{16,})"', line)[:1]:
                found[name.decode()] += 1
    return found


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", default="target/release/ringwall")
    arguments.add_argument("--minutes", type=float, default=20)
    arguments.add_argument("--rate", type=float, default=80, help="exchanges a second")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--upstream", type=int, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.upstream:
        return upstream(given.upstream)
    folder = pathlib.Path("target/soak")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder = folder.resolve()
    gateway = Gateway(given.binary, folder)
    load, rows = Load(gateway, given.seed), []
    descriptors_before = gateway.descriptors()
    asyncio.run(soak(gateway, load, given.minutes, given.rate, rows))
    # The upstream connections that idle may stay for a minute.
    descriptors_after = gateway.descriptors()
    for _ in range(90):
        if descriptors_after <= descriptors_before + 2:
            break
        time.sleep(1)
        descriptors_after = gateway.descriptors()
    in_flight, panics = (gateway.meters()[f"ringwall_{name}"] for name in ("in_flight", "panics_total"))
    code = gateway.end()
    verified = subprocess.run([given.binary, "audit", "verify", folder / "audit"],
                              capture_output=True, text=True)
    found = recorded(folder)
    lost = [name for name in load.ids if found[name] != 1]
    early = [row["resident"] for row in rows if 120 <= row["seconds"] < 240] or [0]
    late = [row["resident"] for row in rows if row["seconds"] >= given.minutes * 60 - 120] or [0]
    grown = middle(late) - middle(early)
    verdicts = {
        f"memory after minute two: {middle(early) / 1e6:.1f} MB, at the end {middle(late) / 1e6:.1f} MB":
            grown <= max(FLAT_BYTES, FLAT_SHARE * middle(early)),
        f"{len(load.ids)} answers read, {len(lost)} of them not in the log exactly once":
            len(load.ids) > 0 and not lost,
        f"{len(load.wrong)} wrong answers": not load.wrong,
        f"descriptors {descriptors_before} before, {descriptors_after} after":
            descriptors_after <= descriptors_before + 2,
        f"{int(in_flight)} leases held, {int(panics)} panics": in_flight == 0 and panics == 0,
        f"the process ended with {code}; the log: {verified.stdout.strip() or verified.stderr.strip()}":
            code == 0 and verified.returncode == 0,
    }
    load.counts["ids twice in the log"] = sum(1 for count in found.values() if count > 1)
    lines = table(rows, given.minutes)
    lines += ["", "Load: " + ", ".join(f"{kind} {count}" for kind, count in sorted(load.counts.items())), ""]
    lines += [f"- {'good' if good else 'BAD'}: {what}" for what, good in verdicts.items()]
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    (folder / "samples.json").write_text(json.dumps(rows))
    (folder / "wrong.txt").write_text("\n".join(load.wrong + lost))
    print("\n".join(lines))
    return 0 if all(verdicts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
