//! HTTP/1.1 and server-sent events as a pure codec: bytes in, heads, bodies and events out.
//!
//! Nothing here waits or reads a socket. Where the grammar leaves a choice, this room takes the
//! strict side, so that gateway and upstream never read a message differently (RFC 9112 §11.2).

pub mod body;
pub mod chunked;
pub mod coding;
pub mod encode;
pub mod fields;
pub mod head;
pub mod path;
pub mod proxy;
pub mod request;
pub mod response;
pub mod sse;

#[cfg(test)]
mod beside;
