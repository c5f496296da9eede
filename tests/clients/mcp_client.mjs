// The official TypeScript MCP clients, both generations, unchanged, through the gateway.
//
// Environment: RINGWALL_URL, RINGWALL_KEY, RINGWALL_MCP_PATH (/mcp/demo), RINGWALL_EVERYTHING_PATH (left
// out: not tried), RINGWALL_CLIENTS (the folder with node_modules). RINGWALL_DIRECT=1: straight to the
// demo MCP server.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const env = (name, fallback) => {
  const value = process.env[name] ?? fallback;
  if (value === undefined) {
    console.error(`${name} is not set`);
    process.exit(2);
  }
  return value;
};

const URL_BASE = env("RINGWALL_URL", "http://127.0.0.1:8080");
const KEY = env("RINGWALL_KEY");
const DEMO = env("RINGWALL_MCP_PATH", "/mcp/demo");
const EVERYTHING = process.env.RINGWALL_EVERYTHING_PATH;
const DIRECT = process.env.RINGWALL_DIRECT === "1";
const CARD = "4111 1111 1111 1111";
const LEAKED_CARD = "4242 4242 4242 4242";

const pins = JSON.parse(readFileSync(new URL("package.json", import.meta.url))).dependencies;
const folder = createRequire(`${env("RINGWALL_CLIENTS")}/package.json`);
const load = async (name) => import(pathToFileURL(folder.resolve(name)).href);

// `require` resolution finds the CommonJS builds; both packages ship them.
const sdk = {
  name: "@modelcontextprotocol/sdk",
  version: pins["@modelcontextprotocol/sdk"],
  Client: (await load("@modelcontextprotocol/sdk/client/index.js")).Client,
  Transport: (await load("@modelcontextprotocol/sdk/client/streamableHttp.js"))
    .StreamableHTTPClientTransport,
};
const clientModule = await load("@modelcontextprotocol/client");
const client = {
  name: "@modelcontextprotocol/client",
  version: pins["@modelcontextprotocol/client"],
  Client: clientModule.Client,
  Transport: clientModule.StreamableHTTPClientTransport,
};

let passed = 0;
let failed = 0;

const expect = (condition, what) => {
  if (!condition) throw new Error(what);
};
const textOf = (result) =>
  result.content.filter((part) => part.type === "text").map((part) => part.text).join("\n");
const expectMasked = (text, card) => {
  const seen = text.includes(card) || text.includes(card.replaceAll(" ", ""));
  expect(seen === DIRECT, seen ? `unmasked: ${text}` : `the demo masks nothing, yet: ${text}`);
};

async function check(kit, what, body) {
  try {
    await body();
    passed += 1;
    console.log(`  ok    ${kit.name} ${kit.version}: ${what}`);
  } catch (error) {
    failed += 1;
    console.log(`  FAIL  ${kit.name} ${kit.version}: ${what}\n${error?.stack ?? error}`);
  }
}

async function connect(kit, path, key = KEY) {
  const session = new kit.Client({ name: "ringwall-suite", version: "1.0.0" });
  const headers = { authorization: `Bearer ${key}` };
  const transport = new kit.Transport(new URL(URL_BASE + path), { requestInit: { headers } });
  await session.connect(transport);
  return { session, transport };
}

async function demoServer(kit) {
  let session, transport;
  await check(kit, "initialize", async () => {
    ({ session, transport } = await connect(kit, DEMO));
    expect(session.getServerVersion().name, "the server has a name");
  });
  if (!session) return;
  await check(kit, "ping", () => session.ping());
  await check(kit, "listTools, without the denied one", async () => {
    const names = (await session.listTools()).tools.map((tool) => tool.name);
    for (const name of ["echo", "add", "lookup_customer"]) {
      expect(names.includes(name), `${name} is not among ${names}`);
    }
    expect(names.includes("delete_everything") === DIRECT, `listed: ${names}`);
  });
  await check(kit, "callTool", async () => {
    const result = await session.callTool({ name: "echo", arguments: { message: "Grüße" } });
    expect(textOf(result).includes("Grüße"), textOf(result));
  });
  await check(kit, "a card in the arguments is masked", async () => {
    const result = await session.callTool({ name: "echo", arguments: { message: `pay ${CARD} now` } });
    expect(/pay .* now/.test(textOf(result)), textOf(result));
    expectMasked(textOf(result), CARD);
  });
  await check(kit, "a card in the result is masked, in text and structure", async () => {
    const result = await session.callTool({ name: "lookup_customer", arguments: { name: "Ada" } });
    expectMasked(textOf(result), LEAKED_CARD);
    expectMasked(JSON.stringify(result.structuredContent), LEAKED_CARD);
  });
  await check(kit, "an SSE answer with progress", async () => {
    let seen = 0;
    const ask = { name: "count_down", arguments: { from: 3 } };
    const options = { onprogress: () => (seen += 1) };
    const result = await (kit === sdk
      ? session.callTool(ask, undefined, options)
      : session.callTool(ask, options));
    expect(textOf(result).includes("lift-off"), textOf(result));
    expect(seen === 3, `progress came ${seen} times`);
  });
  await check(kit, "a denied tool cannot be called", async () => {
    let refused = false;
    try {
      refused = (await session.callTool({ name: "delete_everything", arguments: {} })).isError === true;
    } catch {
      refused = true;
    }
    expect(refused !== DIRECT, "it was called");
  });
  await check(kit, "the session ends", async () => {
    await transport.terminateSession();
    await session.close();
  });
}

async function wrongKey(kit) {
  await check(kit, "a wrong key is refused", async () => {
    let refused = false;
    try {
      const { session } = await connect(kit, DEMO, "wrong-key");
      await session.close();
    } catch {
      refused = true;
    }
    expect(refused, "it was let in");
  });
}

async function everythingServer(kit) {
  await check(kit, "server-everything: tools, echo, get-sum", async () => {
    const { session, transport } = await connect(kit, EVERYTHING);
    const { tools } = await session.listTools();
    expect(tools.length >= 8, `only ${tools.length} tools`);
    const echo = await session.callTool({ name: "echo", arguments: { message: `hello ${CARD} there` } });
    expect(/hello .* there/.test(textOf(echo)), textOf(echo));
    expectMasked(textOf(echo), CARD);
    const sum = await session.callTool({ name: "get-sum", arguments: { a: 2, b: 40 } });
    expect(textOf(sum).includes("42"), textOf(sum));
    await transport.terminateSession();
    await session.close();
  });
}

for (const kit of [sdk, client]) {
  await demoServer(kit);
  if (!DIRECT) await wrongKey(kit);
  if (EVERYTHING) await everythingServer(kit);
}
console.log(`typescript mcp: ${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
