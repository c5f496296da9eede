//! The PROXY header of a connection, read before anything else; `http::proxy` knows its grammar.

use crate::http::head::Parsed;
use crate::http::proxy::{self, Origin};
use crate::wire::error::WireError;
use crate::wire::socket::Socket;
use crate::wire::watch::Watch;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

/// What is asked for at once; most headers are shorter, and what is over is given back.
const READ_BYTES: usize = 256;

/// Reads the header within `limit`, and gives the client's address: the socket's own where the
/// header says none. `Io(InvalidData)` where there is no sound header: the connection is to be
/// closed without an answer, since nobody knows what the peer speaks.
pub async fn accept(
    socket: &mut Socket,
    watch: &Watch,
    limit: Duration,
) -> Result<Option<SocketAddr>, WireError> {
    let began = watch.now();
    let mut said = Vec::new();
    loop {
        match proxy::parse(&said) {
            Err(_fault) => return Err(WireError::Io(ErrorKind::InvalidData)),
            Ok(Parsed::Complete { head, length }) => {
                socket.unread(said.split_off(length));
                return Ok(match head {
                    Origin::Client(address) => Some(address),
                    Origin::Unknown | Origin::Proxy => socket.peer(),
                });
            }
            Ok(Parsed::Partial) => {}
        }
        let left = limit.saturating_sub(watch.now().since(began));
        if socket.read(&mut said, READ_BYTES, left).await? == 0 {
            return Err(WireError::Closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::accept;
    use crate::base::clock::Clock;
    use crate::wire::dial;
    use crate::wire::error::WireError;
    use crate::wire::listen::Listener;
    use crate::wire::runtime::{self, Driver};
    use crate::wire::socket::Socket;
    use crate::wire::watch::Watch;
    use std::io::ErrorKind;
    use std::net::SocketAddr;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(5);
    const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 51234 443\r\n";

    type Heard = Result<(Option<SocketAddr>, Vec<u8>), WireError>;

    /// Whether this is made of a connection that says that in pieces: the address, and the bytes
    /// that follow.
    fn assert_heard(pieces: &[&[u8]], expected: &Heard) {
        for driver in [Driver::IoUring, Driver::Epoll] {
            let heard = runtime::run(Some(driver), async |_| {
                let watch = Watch::new(Clock::machine());
                runtime::spawn(watch.clone().keep(), || panic!("the watch must not panic"));
                let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
                let near = dial::connect(listener.local(), &watch, LIMIT).await.unwrap();
                let far = Socket::adopt(listener.accept().await.unwrap().0, &watch).unwrap();
                let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
                runtime::spawn(talk(near, pieces), || panic!("the peer must not panic"));
                hear(far, &watch).await
            });
            assert_eq!(heard.unwrap(), *expected);
        }
    }

    async fn talk(mut near: Socket, pieces: Vec<Vec<u8>>) {
        for piece in pieces {
            near.write(piece, LIMIT).await.unwrap();
            runtime::sleep(Duration::from_millis(2)).await;
        }
        near.shutdown().await;
    }

    async fn hear(mut far: Socket, watch: &Watch) -> Heard {
        let address = accept(&mut far, watch, LIMIT).await?;
        let mut rest = Vec::new();
        while far.read(&mut rest, 64, LIMIT).await? > 0 {}
        Ok((address, rest))
    }

    #[test]
    fn the_address_is_taken_and_every_byte_behind_it_stays() {
        let address = Some("192.0.2.7:51234".parse().unwrap());
        let expected = Ok((address, b"GET / HTTP/1.1".to_vec()));
        assert_heard(&[HEADER, b"GET / HTTP/1.1"], &expected);
        assert_heard(&[&[HEADER, b"GET / HTTP"].concat(), b"/1.1"], &expected);
        let (one, two) = HEADER.split_at(9);
        assert_heard(&[one, two, b"GET / HTTP/1.1"], &expected);
    }

    #[test]
    fn a_connection_without_a_sound_header_is_refused() {
        let refused = Err(WireError::Io(ErrorKind::InvalidData));
        assert_heard(&[b"GET / HTTP/1.1\r\n\r\n"], &refused);
        assert_heard(&[b"PROXY TCP4 nowhere\r\n"], &refused);
        assert_heard(&[b"PROXY TCP4 192.0.2.7"], &Err(WireError::Closed));
    }
}
