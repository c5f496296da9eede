//! What is asked, told apart from how a protocol writes it.

/// One request, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A model is to answer a conversation.
    Chat(ChatAsk),
    /// One MCP message to a server.
    Mcp(McpAsk),
    /// Which models there are.
    Models,
    /// Whether texts are safe.
    Scan,
    /// Something that passes as it is.
    Route(RouteAsk),
    /// What the server can do at all: `OPTIONS *`.
    Server,
}

/// What is asked of a model, through any of its endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatAsk {
    /// Through which.
    pub api: Api,
    /// The model's public name.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the caller itself asked for usage at the end of its stream.
    pub include_usage: bool,
    /// The names of the tools that the model may call.
    pub tools: Vec<String>,
    /// The caller's ceiling of output tokens.
    pub max_tokens: Option<u64>,
    /// How many answers; one unless the caller says otherwise.
    pub choices: u64,
}

/// An endpoint through which a model is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// `POST /v1/chat/completions`
    #[default]
    Chat,
    /// `POST /v1/completions`, the form before chat.
    Completions,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/responses`
    Responses,
}

/// Whose language is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Anthropic's Messages API.
    Anthropic,
    /// OpenAI's API, and all that are made like it.
    OpenAi,
}

impl Api {
    /// All endpoints, in the order of their names.
    pub const ALL: [Self; 6] = [
        Self::Chat,
        Self::Completions,
        Self::CountTokens,
        Self::Embeddings,
        Self::Messages,
        Self::Responses,
    ];

    /// The name in records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::CountTokens => "count_tokens",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::Responses => "responses",
        }
    }

    /// The path below `/v1`, here as at a provider.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
            Self::CountTokens => "/messages/count_tokens",
            Self::Embeddings => "/embeddings",
            Self::Messages => "/messages",
            Self::Responses => "/responses",
        }
    }

    /// The dialect it belongs to.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::CountTokens | Self::Messages => Dialect::Anthropic,
            Self::Chat | Self::Completions | Self::Embeddings | Self::Responses => Dialect::OpenAi,
        }
    }
}

impl Dialect {
    /// The name in the configuration and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
        }
    }
}

/// What an MCP request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct McpAsk {
    /// The server's name in the path.
    pub server: String,
    /// `POST`, `GET` or `DELETE`: a message, a stream to listen on, or the end of a session.
    pub verb: McpVerb,
    /// The JSON-RPC method; empty for an answer of the client's to the server.
    pub method: String,
    /// The tool of a `tools/call`.
    pub tool: Option<String>,
    /// The raw JSON of the request's id; none for notifications and answers.
    pub id: Option<String>,
}

/// What is asked through a passthrough route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteAsk {
    /// The route's name.
    pub route: String,
    /// The HTTP method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
}

/// The HTTP methods of MCP's Streamable HTTP transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum McpVerb {
    /// End the session.
    Delete,
    /// Listen to the server.
    Get,
    /// Send a message.
    #[default]
    Post,
}
