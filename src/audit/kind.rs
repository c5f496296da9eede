//! Which leg of the gateway a record is of.

use crate::base::ask::Api;
use serde::Serialize;

/// Which leg of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A chat completion.
    Chat,
    /// A completion, the form before chat.
    Completions,
    /// How many tokens a message would cost.
    CountTokens,
    /// Embeddings of texts.
    Embeddings,
    /// A message to an MCP server.
    Mcp,
    /// A message in Anthropic's dialect.
    Messages,
    /// The list of models.
    Models,
    /// Anything else: no such path, a broken head.
    Other,
    /// A response in OpenAI's later dialect.
    Responses,
    /// A passthrough route.
    Route,
    /// Texts that were looked at for somebody else.
    Scan,
}

impl Kind {
    /// All kinds, in the order of their names.
    pub const ALL: [Self; 11] = [
        Self::Chat,
        Self::Completions,
        Self::CountTokens,
        Self::Embeddings,
        Self::Mcp,
        Self::Messages,
        Self::Models,
        Self::Other,
        Self::Responses,
        Self::Route,
        Self::Scan,
    ];

    /// That of an endpoint of models.
    pub const fn of(api: Api) -> Self {
        match api {
            Api::Chat => Self::Chat,
            Api::Completions => Self::Completions,
            Api::CountTokens => Self::CountTokens,
            Api::Embeddings => Self::Embeddings,
            Api::Messages => Self::Messages,
            Api::Responses => Self::Responses,
        }
    }

    /// The name in records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::CountTokens => "count_tokens",
            Self::Embeddings => "embeddings",
            Self::Mcp => "mcp",
            Self::Messages => "messages",
            Self::Models => "models",
            Self::Other => "other",
            Self::Responses => "responses",
            Self::Route => "route",
            Self::Scan => "scan",
        }
    }
}
