//! What counts as an error: an answer that did not come, or one that is wrong however fast it was.

use ringwall::wire::error::WireError;

/// Why a request does not count as answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mistake {
    /// The planted card number is in the answer.
    CardCameBack,
    /// The connection ended before the answer did.
    Closed,
    /// The answer is not of the media type that was asked for.
    ContentType,
    /// The echo is not the prompt: something was lost, doubled, moved or masked without need.
    EchoDiffers,
    /// The chunks or the length of the body are malformed.
    Framing,
    /// The head of the answer is malformed, or the session's name cannot be sent back.
    Head,
    /// JSON, but without the answer that it should carry.
    NoAnswer,
    /// The stream ended without `[DONE]`.
    NoDone,
    /// The stream has no `finish_reason`.
    NoFinish,
    /// The MCP server opened no session.
    NoSession,
    /// The nonce of the prompt is not in the echo: it is the answer to another prompt.
    NonceMissing,
    /// `--expect-echo`, and the answer is no echo.
    NotEchoed,
    /// Not JSON, or JSON of another form.
    NotJson,
    /// Due within the run, but every connection was busy until its end.
    NotSent,
    /// Something came after the end of a stream or of a choice.
    OutOfOrder,
    /// A fault of the generator itself.
    Panicked,
    /// Nobody listens there.
    Refused,
    /// Another status than 200.
    Status(u16),
    /// The stream carried an error.
    StreamError,
    /// Bytes after the answer that nobody asked for.
    Surplus,
    /// No byte came in time.
    Timeout,
    /// The answer or one of its events is longer than anything that was asked for.
    TooLong,
    /// The tool or the MCP server answered with an error.
    ToolError,
    /// The connection failed in another way.
    Transport,
    /// An answer to an id that was not asked.
    WrongId,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::CardCameBack => "card_came_back",
            Self::Closed => "closed",
            Self::ContentType => "content_type",
            Self::EchoDiffers => "echo_differs",
            Self::Framing => "framing",
            Self::Head => "head",
            Self::NoAnswer => "no_answer",
            Self::NoDone => "no_done",
            Self::NoFinish => "no_finish",
            Self::NoSession => "no_session",
            Self::NonceMissing => "nonce_missing",
            Self::NotEchoed => "not_echoed",
            Self::NotJson => "not_json",
            Self::NotSent => "not_sent",
            Self::OutOfOrder => "out_of_order",
            Self::Panicked => "panicked",
            Self::Refused => "refused",
            Self::StreamError => "stream_error",
            Self::Status(code) => return write!(out, "status_{code}"),
            Self::Surplus => "surplus",
            Self::Timeout => "timeout",
            Self::TooLong => "too_long",
            Self::ToolError => "tool_error",
            Self::Transport => "transport",
            Self::WrongId => "wrong_id",
        })
    }
}

impl std::error::Error for Mistake {}

impl From<WireError> for Mistake {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Closed | WireError::PeerGone => Self::Closed,
            WireError::Deadline => Self::Timeout,
            WireError::Refused => Self::Refused,
            WireError::Io(_) | WireError::Stopped | WireError::Tls(_) => Self::Transport,
        }
    }
}
