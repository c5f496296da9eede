//! Connections to upstreams, by address: names are resolved elsewhere, since that blocks.

use crate::wire::error::WireError;
#[cfg(test)]
use crate::wire::fault::{Fault, Operation, strike};
use crate::wire::socket::Socket;
use crate::wire::stream::Stream;
use crate::wire::watch::{Manner, Watch};
use monoio::net::{TcpStream, UnixStream};
use rustls::ClientConfig;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Connects in the clear within `limit`.
pub async fn connect(
    address: SocketAddr,
    watch: &Watch,
    limit: Duration,
) -> Result<Socket, WireError> {
    let seat = watch.sit();
    let deadline = seat.now().plus(limit);
    #[cfg(test)]
    if let Some(Fault::Error(error)) = strike(Operation::Connect) {
        return Err(error);
    }
    let stream = seat.guard(Manner::Listen, deadline, TcpStream::connect_addr(address)).await??;
    // Two writes, head and body, must not wait for an acknowledgement in between.
    stream.set_nodelay(true)?;
    Ok(Socket::plain(Stream::Tcp(stream), Some(address), seat))
}

/// Connects to a Unix socket of this machine within `limit`, in the clear.
pub async fn connect_unix(
    path: &Path,
    watch: &Watch,
    limit: Duration,
) -> Result<Socket, WireError> {
    let seat = watch.sit();
    let deadline = seat.now().plus(limit);
    let stream = seat.guard(Manner::Listen, deadline, UnixStream::connect(path)).await?;
    let stream = stream.map_err(|error| {
        // No such file, or one whose listener takes no more: nobody answers.
        let is_refused = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::WouldBlock);
        if is_refused { WireError::Refused } else { error.into() }
    })?;
    Ok(Socket::plain(Stream::Unix(stream), None, seat))
}

/// Connects and shakes hands within `limit`; `name` is what the certificate must be for.
pub async fn connect_tls(
    address: SocketAddr,
    watch: &Watch,
    limit: Duration,
    config: Arc<ClientConfig>,
    name: &str,
) -> Result<Socket, WireError> {
    let deadline = watch.now().plus(limit);
    let socket = connect(address, watch, limit).await?;
    socket.connect_tls(config, name, deadline).await
}
