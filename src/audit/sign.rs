//! Signed checkpoints: after each batch, what the log's chain came to, under an Ed25519 key.
//!
//! A chain alone does not see a tail that was cut off or written anew; a checkpoint does, above all
//! one that was copied elsewhere. A line is
//! `{"checkpoint":n,"seq":last,"chain":"<64 hex>","time":"<RFC 3339>","signature":"<128 hex>"}`;
//! signed is [`DOMAIN`] and the line up to `,"signature"`. The key file is PKCS#8 (RFC 8410).

use crate::audit::chain::{Chain, Hash};
use crate::base::clock::Wall;
use data_encoding::HEXLOWER;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Put before what is signed, so that a signature means a checkpoint and nothing else.
pub const DOMAIN: &[u8] = b"ringwall audit checkpoint v1\n";
/// Bytes of a checkpoint's line, at most.
pub const LINE_BYTES_MAX: u64 = 1024;
/// The beginning of an Ed25519 private key in PKCS#8 (RFC 8410 §7); the seed follows.
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const BEGIN: &str = "{\"checkpoint\":";
const SIGNATURE: &str = ",\"signature\":\"";

/// Signs checkpoints.
pub struct Signer(Ed25519KeyPair);

/// The public half of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

/// What a checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of the batch after which it was made.
    pub batch: u64,
    /// The last record's number.
    pub seq: u64,
    /// The last record's chain value.
    pub hash: Hash,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Signer(…)")
    }
}

impl Signer {
    /// Reads a key file's content; `None` if it is no Ed25519 key.
    pub fn read(pkcs8: &[u8]) -> Option<Self> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok().map(Self)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    /// The line that says where the chain stands, newline included.
    pub fn checkpoint(&self, chain: &Chain, time: Wall) -> String {
        let mut line = format!(
            "{BEGIN}{},\"seq\":{},\"chain\":\"{}\",\"time\":\"{}\"",
            chain.batch,
            chain.seq,
            HEXLOWER.encode(&chain.hash),
            time.rfc3339()
        );
        let signature = self.0.sign(&signed(&line));
        line.push_str(SIGNATURE);
        line.push_str(&HEXLOWER.encode(signature.as_ref()));
        line.push_str("\"}\n");
        line
    }
}

/// The content of a new key file, made of 32 random bytes.
pub fn new_key(seed: &[u8; 32]) -> Vec<u8> {
    [&PKCS8[..], seed].concat()
}

impl PublicKey {
    /// As the line of `signing.pub`, newline included.
    pub fn line(&self) -> String {
        format!("{}\n", HEXLOWER.encode(&self.0))
    }

    /// Reads the line of `signing.pub`.
    pub fn read(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        HEXLOWER.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// Reads a checkpoint's line, without the newline; `None` if it is not one that this key
    /// signed.
    pub fn open(&self, line: &[u8]) -> Option<Checkpoint> {
        let (body, signature) = std::str::from_utf8(line).ok()?.split_once(SIGNATURE)?;
        let signature = HEXLOWER.decode(signature.strip_suffix("\"}")?.as_bytes()).ok()?;
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(&signed(body), &signature).ok()?;
        // What we signed we wrote: the text can be taken apart plainly.
        let (batch, rest) = body.strip_prefix(BEGIN)?.split_once(",\"seq\":")?;
        let (seq, rest) = rest.split_once(",\"chain\":\"")?;
        let hash = HEXLOWER.decode(rest.get(..64)?.as_bytes()).ok()?.try_into().ok()?;
        Some(Checkpoint { batch: batch.parse().ok()?, seq: seq.parse().ok()?, hash })
    }
}

impl Checkpoint {
    /// Whether the chain stands where this says.
    pub fn agrees(&self, chain: &Chain) -> bool {
        (self.batch, self.seq, self.hash) == (chain.batch, chain.seq, chain.hash)
    }
}

fn signed(body: &str) -> Vec<u8> {
    [DOMAIN, body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::{Checkpoint, PublicKey, Signer, new_key};
    use crate::audit::chain::Chain;
    use crate::base::clock::Wall;

    #[test]
    fn a_checkpoint_opens_with_its_key_and_with_no_byte_changed() {
        let signer = Signer::read(&new_key(&[7; 32])).unwrap();
        let key = PublicKey::read(signer.public().line().as_bytes()).unwrap();
        let chain = Chain { seq: 12, batch: 3, ..Chain::default() };
        let line = signer.checkpoint(&chain, Wall(1));
        let line = line.trim_end().as_bytes();
        assert!(key.open(line).unwrap().agrees(&chain));
        for at in 0..line.len() {
            let mut changed = line.to_vec();
            changed[at] ^= 1;
            assert_eq!(key.open(&changed), None, "byte {at}");
        }
        let other = Signer::read(&new_key(&[8; 32])).unwrap().public();
        assert_eq!(other.open(line), None);
        let moved = Checkpoint { batch: 4, seq: 12, hash: chain.hash };
        assert!(!moved.agrees(&chain));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(Signer::read(b"").is_none());
        assert!(Signer::read(&new_key(&[7; 32])[1..]).is_none());
        assert!(PublicKey::read(b"00ff\n").is_none());
    }
}
