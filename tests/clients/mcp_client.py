"""The official Python MCP client, unchanged, through the gateway.

Environment: RINGWALL_URL (http://127.0.0.1:8080), RINGWALL_KEY, RINGWALL_MCP_PATH (/mcp/demo) in front of
the demo MCP server, RINGWALL_EVERYTHING_PATH in front of the official example server (left out: not
tried). With RINGWALL_DIRECT=1 it talks to the demo MCP server itself.
"""

import asyncio
import importlib.metadata
import os

import httpx2
from check import CARD, DIRECT, LEAKED_CARD, Suite, expect, expect_masked, setting
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

URL = setting("RINGWALL_URL", "http://127.0.0.1:8080")
KEY = setting("RINGWALL_KEY")
DEMO = URL + setting("RINGWALL_MCP_PATH", "/mcp/demo")
EVERYTHING = os.environ.get("RINGWALL_EVERYTHING_PATH")


def client(url: str, mode: str, key: str = KEY) -> Client:
    headers = {"authorization": f"Bearer {key}"}
    http = httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(20))
    return Client(streamable_http_client(url, http_client=http), mode=mode, read_timeout_seconds=20)


def text_of(result) -> str:
    return "\n".join(part.text for part in result.content if part.type == "text")


async def demo_server(suite: Suite, mode: str) -> None:
    async with client(DEMO, mode) as session:
        expect(session.protocol_version <= "2025-11-25", f"{session.protocol_version} is legacy")
        suite.ok(f"{mode}: initialize ({session.protocol_version})")
        await session.send_ping()
        suite.ok(f"{mode}: ping")

        names = {tool.name for tool in (await session.list_tools()).tools}
        expect({"echo", "add", "lookup_customer"} <= names, f"tools are listed: {names}")
        expect(("delete_everything" in names) == DIRECT, f"the denied tool is not listed: {names}")
        suite.ok(f"{mode}: list_tools, without the denied one")

        said = text_of(await session.call_tool("echo", {"message": "Grüße"}))
        expect("Grüße" in said, f"echo said {said!r}")
        sum_ = text_of(await session.call_tool("add", {"a": 2, "b": 40}))
        expect("42" in sum_, f"add said {sum_!r}")
        suite.ok(f"{mode}: call_tool")

        said = text_of(await session.call_tool("echo", {"message": f"my card is {CARD}, thanks"}))
        expect("my card is" in said and "thanks" in said, f"the rest is untouched: {said!r}")
        expect_masked(said, CARD)
        suite.ok(f"{mode}: a card in the arguments is masked")

        record = await session.call_tool("lookup_customer", {"name": "Ada"})
        expect("Ada" in text_of(record), "the record is there")
        expect_masked(text_of(record), LEAKED_CARD)
        expect_masked(str(record.structured_content), LEAKED_CARD)
        suite.ok(f"{mode}: a card in the result is masked, in text and structure")

        seen = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            seen.append((done, total, message))

        slow = await session.call_tool("count_down", {"from": 3}, progress_callback=progress)
        expect("lift-off" in text_of(slow), f"count_down said {text_of(slow)!r}")
        expect(len(seen) == 3, f"progress came {len(seen)} times")
        suite.ok(f"{mode}: an SSE answer with progress")

        try:
            denied = await session.call_tool("delete_everything", {})
            refused, why = bool(denied.is_error), text_of(denied)
        except Exception as error:
            refused, why = True, str(error)
        expect(refused != DIRECT, f"the denied tool was called: {why}")
        suite.ok(f"{mode}: a denied tool cannot be called")


async def wrong_key(suite: Suite) -> None:
    try:
        async with client(DEMO, "legacy", "wrong-key") as session:
            await session.send_ping()
    except BaseException as error:
        expect(not isinstance(error, (KeyboardInterrupt, SystemExit)), "interrupted")
        suite.ok("a wrong key is refused")
    else:
        raise AssertionError("a wrong key was let in")


async def everything_server(suite: Suite, mode: str) -> None:
    async with client(URL + EVERYTHING, mode) as session:
        tools = (await session.list_tools()).tools
        expect(len(tools) >= 8, f"only {len(tools)} tools")
        said = text_of(await session.call_tool("echo", {"message": f"hello {CARD} there"}))
        expect("hello" in said and "there" in said, f"echo said {said!r}")
        expect_masked(said, CARD)
        sum_ = text_of(await session.call_tool("get-sum", {"a": 2, "b": 40}))
        expect("42" in sum_, f"get-sum said {sum_!r}")
        suite.ok(f"{mode}: server-everything, {len(tools)} tools, echo and get-sum")


async def main() -> None:
    suite = Suite(f"mcp {importlib.metadata.version('mcp')}")
    checks = [demo_server(suite, "legacy"), demo_server(suite, "auto")]
    if not DIRECT:
        checks.append(wrong_key(suite))
    if EVERYTHING:
        checks += [everything_server(suite, "legacy"), everything_server(suite, "auto")]
    for check in checks:
        name = check.__name__.replace("_", " ")
        try:
            await asyncio.wait_for(check, 60)
        except Exception:
            suite.bad(name)
    suite.finish()


asyncio.run(main())
