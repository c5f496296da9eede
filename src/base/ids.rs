//! Names of one exchange: the request id and the trace it belongs to.

use std::fmt;

/// The id of one exchange: 128 random bits, shown as `req_` and 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub [u8; 16]);

/// A position in a distributed trace (W3C Trace Context, `traceparent` version 00).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The whole trace.
    pub trace: [u8; 16],
    /// The caller's span; our parent.
    pub parent: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("req_")?;
        hex(&self.0, out)
    }
}

impl TraceContext {
    /// Reads a `traceparent` value (Trace Context §3.2): lower-case hex, no field all zero. Later
    /// versions are read by their first four fields.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split('-');
        let version: [u8; 1] = unhex(parts.next()?)?;
        let trace = unhex(parts.next()?)?;
        let parent = unhex(parts.next()?)?;
        let [flags] = unhex(parts.next()?)?;
        let ends = parts.next().is_none();
        let valid =
            version != [0xff] && (ends || version != [0]) && trace != [0; 16] && parent != [0; 8];
        valid.then_some(Self { trace, parent, flags })
    }

    /// The trace's id, 32 hex digits.
    pub fn trace_hex(self) -> String {
        data_encoding::HEXLOWER.encode(&self.trace)
    }

    /// The same trace with `span` as the parent, for the next hop.
    #[must_use]
    pub fn child(self, span: [u8; 8]) -> Self {
        Self { parent: span, ..self }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("00-")?;
        hex(&self.trace, out)?;
        out.write_str("-")?;
        hex(&self.parent, out)?;
        write!(out, "-{:02x}", self.flags)
    }
}

fn hex(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (text.len() == N * 2).then_some(())?;
    let decoded = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
    bytes.copy_from_slice(decoded.get(..N)?);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{RequestId, TraceContext};

    #[test]
    fn traceparent_is_read_and_written_as_the_standard_says() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = TraceContext::parse(text).unwrap();
        assert_eq!(context.to_string(), text);
        assert!(context.child([1; 8]).to_string().contains("-0101010101010101-"));
        for bad in [
            "",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
        assert_eq!(RequestId([0xab; 16]).to_string(), format!("req_{}", "ab".repeat(16)));
    }
}
