#!/usr/bin/env python3
"""badproxy.py PORT ORIGIN: the negative control of suites that need a proxy which closes in time.

It relays bytes as they are and inspects nothing; an answer is gathered until the upstream is silent for a moment, or for
a second at most, and then sent as if it were whole.
"""
import asyncio
import sys

LISTEN, ORIGIN = int(sys.argv[1]), int(sys.argv[2])
SILENCE, MOST = 0.15, 1.0


async def upload(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass


async def serve(reader, writer):
    upstream = None
    try:
        from_origin, upstream = await asyncio.open_connection("127.0.0.1", ORIGIN)
        sending = asyncio.ensure_future(upload(reader, upstream))
        answer, end = b"", asyncio.get_running_loop().time() + MOST
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                data = await asyncio.wait_for(from_origin.read(65536), min(left, SILENCE if answer else MOST))
            except asyncio.TimeoutError:
                break
            answer += data
            if not data:
                break
        writer.write(answer)
        await writer.drain()
        sending.cancel()
    except OSError:
        pass
    finally:
        writer.close()
        if upstream:
            upstream.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", LISTEN, backlog=1024)
    async with server:
        await server.serve_forever()


asyncio.run(main())
