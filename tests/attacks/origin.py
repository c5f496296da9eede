#!/usr/bin/env python3
"""origin.py PORT: the upstream of the suites that bring none of their own.

`/sse?n=N&ms=M` streams N numbered events M milliseconds apart, `/stat` says how many streams are open, anything else
is read whole and answered 200. It frames strictly: what it cannot read it answers 400 and closes.
"""
import asyncio
import json
import re
import sys

TOKEN = re.compile(rb"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
OPEN = {"open": 0, "begun": 0}


async def body(reader, fields):
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise ValueError("framed twice")
    if lengths:
        return await reader.readexactly(int(lengths[0]))
    whole = b""
    while codings:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        whole += (await reader.readexactly(size + 2))[:-2]
        if size == 0:
            break
    return whole


def answer(status, content, more=b""):
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % (status, len(content))
    return head + more + b"\r\n"


async def stream(reader, writer, target):
    count = int(re.search(rb"n=(\d+)", target).group(1))
    pause = int(re.search(rb"ms=(\d+)", target).group(1)) / 1000
    OPEN["open"] += 1
    OPEN["begun"] += 1
    # Whoever waits for us says nothing more: the end of what it says is that it left.
    left = asyncio.ensure_future(reader.read(1))
    try:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(count):
            event = b'data: {"i":%d}\n\n' % number
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
            done, _ = await asyncio.wait([left], timeout=pause)
            if done:
                return
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    finally:
        left.cancel()
        OPEN["open"] -= 1


async def serve(reader, writer):
    try:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
            method, target, _version = lines[0].split(b" ")
            fields = []
            for line in lines[1:]:
                name, _, value = line.partition(b":")
                if not TOKEN.match(name):
                    raise ValueError("no field")
                fields.append((name.lower(), value.strip()))
            await body(reader, fields)
            if target.startswith(b"/sse"):
                await stream(reader, writer, target)
                break
            content = json.dumps(OPEN).encode() if target.startswith(b"/stat") else b"{}"
            writer.write(answer(b"200 OK", content) + (b"" if method == b"HEAD" else content))
            await writer.drain()
    except ValueError:
        writer.write(answer(b"400 Bad Request", b"", b"Connection: close\r\n"))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    async with server:
        await server.serve_forever()


asyncio.run(main())
