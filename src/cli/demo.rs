//! `ringwall demo`: the quickstart configuration in front of a model and an MCP server of our own.

use crate::base::endpoint::Endpoint;
use crate::cli::{check, gateway, print};
use crate::config::fault::Faults;
use crate::config::load;
use crate::config::model::Config;
use crate::demo::serve;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Runs the demo until it is told to stop.
pub fn run(sets: &[String]) -> ExitCode {
    let config = match quickstart(sets) {
        Ok(config) => config,
        Err(faults) => {
            print::err(&check::draw(&faults, print::has_colour()));
            return ExitCode::FAILURE;
        }
    };
    let model = config.models.first().and_then(|model| model.routes.first());
    let mcp = config.mcp_servers.first();
    let started = upstream(&config, model.map(|route| route.target))
        .and_then(|model| Ok((model, upstream(&config, mcp.map(|server| server.target))?)))
        .and_then(|(model, mcp)| serve::start(model, mcp));
    let upstreams = match started {
        Ok(upstreams) => upstreams,
        Err(error) => {
            print::err(&format!("error: the demo's upstreams cannot begin: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    if let Some(listener) = config.listeners.first() {
        print::err(&tour(&listener.address));
    }
    let sets = sets.to_vec();
    let reread = move || quickstart(&sets).map_err(|faults| check::draw(&faults, false));
    let ended = gateway::exit_code(gateway::serve(config, Arc::new(reread)));
    drop(upstreams);
    ended
}

/// The quickstart configuration, which every binary carries; it refers to no secret and no file.
pub fn quickstart(sets: &[String]) -> Result<Config, Faults> {
    let nothing = |_: &Path| Err(io::ErrorKind::NotFound.into());
    load::parse("quickstart.toml", QUICKSTART, sets, &|_| None, &nothing)
}

const QUICKSTART: &str = include_str!("../../config/quickstart.toml");

/// Where the configuration expects an upstream of the demo: an address on this machine.
fn upstream(config: &Config, target: Option<usize>) -> io::Result<SocketAddr> {
    let target = target.and_then(|index| config.targets.get(index));
    let missing = || io::Error::other("the configuration names no address for one of them");
    let target = target.ok_or_else(missing)?;
    let host: IpAddr = target.host.parse().map_err(|_not_an_address| missing())?;
    Ok(SocketAddr::new(host, target.port))
}

/// Four commands to try, and what to expect.
fn tour(gateway: &Endpoint) -> String {
    format!(
        r#"
Ringwall demo: http://{gateway}, before a model and an MCP server of our own. No key, no network.

1. A chat with a card number in it. The model repeats what reached it: `[CARD]`, not the number.

   curl -s http://{gateway}/v1/chat/completions -H 'content-type: application/json' \
     -d '{{"model": "demo-model", "messages": [{{"role": "user",
          "content": "Charge 4111 1111 1111 1111 please"}}]}}'

2. A stream in which the model tells a card number, a few characters at a time: it comes masked.

   curl -sN http://{gateway}/v1/chat/completions -H 'content-type: application/json' \
     -d '{{"model": "demo-model", "stream": true, "messages": [{{"role": "user",
          "content": "leak"}}]}}'

3. Anthropic's dialect. The model thinks of the card before it says it: masked on both channels.

   curl -s http://{gateway}/v1/messages -H 'content-type: application/json' \
     -d '{{"model": "demo-model", "max_tokens": 99, "messages": [{{"role": "user",
          "content": "leak"}}], "thinking": {{"type": "enabled", "budget_tokens": 1024}}}}'

4. An MCP tool call: the customer's record comes back without card number and e-mail address.

   mcp() {{ curl -s http://{gateway}/mcp/demo -H 'content-type: application/json' \
     -H 'accept: application/json, text/event-stream' "$@"; }}
   session=$(mcp -o /dev/null -w '%header{{mcp-session-id}}' -d '{{"jsonrpc": "2.0", "id": 0,
     "method": "initialize", "params": {{"protocolVersion": "2025-11-25", "capabilities": {{}},
     "clientInfo": {{"name": "curl", "version": "1"}}}}}}')
   mcp -H "mcp-session-id: $session" -d '{{"jsonrpc": "2.0", "id": 1, "method": "tools/call",
     "params": {{"name": "lookup_customer", "arguments": {{"name": "Ada"}}}}}}'

A real provider: copy config/example.toml, set OPENAI_API_KEY, run `ringwall serve --config FILE`,
and give your client the base URL http://{gateway}/v1. Every exchange leaves a record in ./audit.

"#
    )
}
