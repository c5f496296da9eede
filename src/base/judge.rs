//! What outside judges are asked about, and in which language.

/// What is said to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A request to a model.
    Prompt,
    /// A model's answer.
    Response,
    /// What a tool is called with.
    ToolInput,
    /// What a tool answered.
    ToolOutput,
}

impl Event {
    /// All of them, in the order of an exchange.
    pub const ALL: [Self; 4] = [Self::Prompt, Self::Response, Self::ToolInput, Self::ToolOutput];

    /// The name in configuration, questions and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Response => "response",
            Self::ToolInput => "tool_input",
            Self::ToolOutput => "tool_output",
        }
    }
}

/// Which language a judge speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The synchronous scan API of Prisma AIRS.
    Airs,
    /// Our own, documented in `config/README.md`.
    Webhook,
}
