//! What requests and responses share: bounds, faults, framing, and the search for a head's end.

use crate::http::fields::Fields;
use http::StatusCode;

/// More fields than this are never read, whatever the bounds say.
pub const FIELDS_MAX: usize = 128;
/// A longer request target is refused with 414.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Decimal digits of `Content-Length`: with fifteen nothing overflows anywhere.
const LENGTH_DIGITS_MAX: usize = 15;

/// A head that was read, or not enough bytes yet.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The whole head.
    Complete {
        /// What it says.
        head: T,
        /// Bytes it took; the body begins there.
        length: usize,
    },
    /// A sound beginning; read more and ask again with all bytes.
    Partial,
}

/// How a message's body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// No body.
    Empty,
    /// That many bytes.
    Exact(u64),
    /// In chunks.
    Chunked,
    /// With the connection; responses only.
    UntilClose,
}

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadBounds {
    /// Bytes from the start line to the empty line.
    pub bytes: usize,
    /// Fields; at most [`FIELDS_MAX`] are ever read.
    pub count: usize,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// A CR or LF that is not part of a CRLF.
    BareLineEnd,
    /// A body where the status forbids one.
    BodyForbidden,
    /// Both `Content-Length` and `Transfer-Encoding`.
    BothLengths,
    /// `Content-Length` more than once, or not 1 to 15 digits.
    ContentLength,
    /// `Expect` is not `100-continue`.
    Expect,
    /// Longer than the bounds.
    HeadTooLong,
    /// `Host` is missing, repeated or malformed.
    Host,
    /// The method is not in upper case letters.
    Method,
    /// A field's name is malformed, or holds an underscore.
    Name,
    /// Not the grammar of a start line.
    StartLine,
    /// A status outside 100 to 599.
    Status,
    /// The target is not a path, or holds a byte that it may not.
    Target,
    /// The target is longer than [`TARGET_BYTES_MAX`].
    TargetTooLong,
    /// More fields than the bounds.
    TooManyFields,
    /// `Transfer-Encoding` is not exactly one `chunked`, or the version has none.
    TransferEncoding,
    /// A field's value holds a control character.
    Value,
    /// Not HTTP at all.
    Version,
    /// HTTP, but neither 1.0 nor 1.1.
    VersionUnsupported,
}

impl HeadFault {
    /// The status that answers a request with this fault.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Expect => StatusCode::EXPECTATION_FAILED,
            Self::HeadTooLong | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::VersionUnsupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::BareLineEnd
            | Self::BodyForbidden
            | Self::BothLengths
            | Self::ContentLength
            | Self::Host
            | Self::Method
            | Self::Name
            | Self::StartLine
            | Self::Status
            | Self::Target
            | Self::TransferEncoding
            | Self::Value
            | Self::Version => StatusCode::BAD_REQUEST,
        }
    }
}

impl std::fmt::Display for HeadFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::BareLineEnd => "a line does not end with CRLF",
            Self::BodyForbidden => "a body where the status forbids one",
            Self::BothLengths => "both Content-Length and Transfer-Encoding",
            Self::ContentLength => "Content-Length is not one number",
            Self::Expect => "Expect is not 100-continue",
            Self::HeadTooLong => "the head is too long",
            Self::Host => "Host is missing, repeated or malformed",
            Self::Method => "the method is malformed",
            Self::Name => "a field name is malformed",
            Self::StartLine => "the start line is malformed",
            Self::Status => "the status is out of range",
            Self::Target => "the target is malformed",
            Self::TargetTooLong => "the target is too long",
            Self::TooManyFields => "too many fields",
            Self::TransferEncoding => "Transfer-Encoding is not exactly chunked",
            Self::Value => "a field value holds a control character",
            Self::Version => "the version is malformed",
            Self::VersionUnsupported => "the version is not supported",
        })
    }
}

impl std::error::Error for HeadFault {}

/// The bytes of a whole head, where they are all there.
pub(crate) type Whole<'a> = Option<&'a [u8]>;

/// The bytes of the whole head, or `None` where its end has not come yet.
///
/// Refuses line ends that are not CRLF here, since httparse takes a bare LF (RFC 9112 §2.2).
pub(crate) fn whole<'a>(bytes: &'a [u8], bounds: &HeadBounds) -> Result<Whole<'a>, HeadFault> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4);
    let seen = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
    check_line_ends(seen)?;
    if seen.len() > bounds.bytes {
        return Err(HeadFault::HeadTooLong);
    }
    Ok(end.map(|_| seen))
}

/// Every CR is followed by LF and every LF follows a CR; a CR may be the last byte so far.
fn check_line_ends(bytes: &[u8]) -> Result<(), HeadFault> {
    let mut after_cr = None;
    for at in memchr::memchr2_iter(b'\r', b'\n', bytes) {
        after_cr = match (bytes.get(at), after_cr) {
            (Some(b'\r'), None) => Some(at + 1),
            (Some(b'\n'), Some(expected)) if expected == at => None,
            _ => return Err(HeadFault::BareLineEnd),
        };
    }
    match after_cr {
        Some(next) if next != bytes.len() => Err(HeadFault::BareLineEnd),
        _ => Ok(()),
    }
}

/// What httparse found wrong, in our words.
pub(crate) fn fault_of(error: httparse::Error, head: &[u8]) -> HeadFault {
    match error {
        httparse::Error::HeaderName => HeadFault::Name,
        httparse::Error::HeaderValue => HeadFault::Value,
        httparse::Error::Status => HeadFault::Status,
        httparse::Error::TooManyHeaders => HeadFault::TooManyFields,
        httparse::Error::Version if names_http(head) => HeadFault::VersionUnsupported,
        httparse::Error::Version => HeadFault::Version,
        httparse::Error::NewLine | httparse::Error::Token => HeadFault::StartLine,
    }
}

/// Whether the start line has a version where one belongs, as `HTTP/digit.digit`.
fn names_http(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (first, _target, third) = (words.next(), words.next(), words.next());
    [first, third].into_iter().flatten().any(|word| {
        matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit())
    })
}

/// Copies httparse's fields, whose names it holds to be tokens and whose values without control
/// characters; `underscores` says whether names may hold one.
pub(crate) fn take_fields(
    headers: &[httparse::Header<'_>],
    bounds: &HeadBounds,
    underscores: bool,
) -> Result<Fields, HeadFault> {
    if headers.len() > bounds.count {
        return Err(HeadFault::TooManyFields);
    }
    let names = headers.iter().map(|header| header.name.len()).sum();
    let values = headers.iter().map(|header| header.value.len()).sum();
    let mut fields = Fields::with_capacity(headers.len(), names, values);
    for header in headers {
        if !underscores && header.name.contains('_') {
            return Err(HeadFault::Name);
        }
        fields.push(header.name, header.value.trim_ascii());
    }
    Ok(fields)
}

/// HTAB, space, visible ASCII and obs-text (RFC 9110 §5.5).
pub(crate) const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7e | 0x80..=0xff)
}

/// The bytes of a token (RFC 9110 §5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|')
        || byte == b'~'
}

/// What the length fields say; `None` where there are none (RFC 9112 §6).
pub(crate) fn framing(fields: &Fields, minor: u8) -> Result<Option<BodyLength>, HeadFault> {
    let lengths = fields.count("content-length");
    let encodings = fields.count("transfer-encoding");
    if encodings > 0 {
        if lengths > 0 {
            return Err(HeadFault::BothLengths);
        }
        let value = fields.get("transfer-encoding").unwrap_or_default();
        if encodings > 1 || minor == 0 || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadFault::TransferEncoding);
        }
        return Ok(Some(BodyLength::Chunked));
    }
    match lengths {
        0 => Ok(None),
        1 => number(fields.get("content-length").unwrap_or_default())
            .map(|bytes| Some(BodyLength::Exact(bytes)))
            .ok_or(HeadFault::ContentLength),
        _ => Err(HeadFault::ContentLength),
    }
}

/// Digits only: `parse` alone would take a plus sign.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > LENGTH_DIGITS_MAX {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

/// Whether the connection may carry another message (RFC 9112 §9.3).
pub(crate) fn keeps_alive(fields: &Fields, minor: u8) -> bool {
    !fields.nominates("close") && (minor > 0 || fields.nominates("keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::{BodyLength, HeadFault, check_line_ends, framing, is_token_byte};
    use crate::http::fields::Fields;

    #[test]
    fn only_crlf_ends_a_line() {
        for good in ["", "a\r\n", "a\r\nb\r\n\r\n", "a\r"] {
            assert_eq!(check_line_ends(good.as_bytes()), Ok(()), "{good:?}");
        }
        for bad in ["\n", "a\n", "a\rb", "a\r\r\n", "a\r\n\n"] {
            assert_eq!(check_line_ends(bad.as_bytes()), Err(HeadFault::BareLineEnd), "{bad:?}");
        }
    }

    #[test]
    fn a_length_is_one_plain_number() {
        let of = |list: &[(&str, &str)], minor| {
            let mut fields = Fields::default();
            for (name, value) in list {
                fields.push(name, value.as_bytes());
            }
            framing(&fields, minor)
        };
        assert_eq!(of(&[], 1), Ok(None));
        assert_eq!(of(&[("content-length", "0012")], 1), Ok(Some(BodyLength::Exact(12))));
        for bad in ["", "+2", "-1", "0x5", "1 2", "1,1", "1234567890123456", "１"] {
            assert_eq!(of(&[("content-length", bad)], 1), Err(HeadFault::ContentLength), "{bad}");
        }
        let twice = [("content-length", "2"), ("content-length", "2")];
        assert_eq!(of(&twice, 1), Err(HeadFault::ContentLength));
        let both = [("content-length", "2"), ("transfer-encoding", "chunked")];
        assert_eq!(of(&both, 1), Err(HeadFault::BothLengths));
    }

    #[test]
    fn only_chunked_is_a_transfer_encoding() {
        let of = |value: &str, minor| {
            let mut fields = Fields::default();
            fields.push("transfer-encoding", value.as_bytes());
            framing(&fields, minor)
        };
        assert_eq!(of("chunked", 1), Ok(Some(BodyLength::Chunked)));
        assert_eq!(of("chunked", 0), Err(HeadFault::TransferEncoding));
        for bad in ["", "gzip", "gzip, chunked", "chunked, chunked", "xchunked", "\"chunked\""] {
            assert_eq!(of(bad, 1), Err(HeadFault::TransferEncoding), "{bad}");
        }
    }

    #[test]
    fn token_bytes_are_those_of_the_grammar() {
        let expected = "!#$%&'*+-.^_`|~";
        for byte in 0..=u8::MAX {
            let token = byte.is_ascii_alphanumeric() || expected.as_bytes().contains(&byte);
            assert_eq!(is_token_byte(byte), token, "{byte}");
        }
    }
}
