//! What an answer cost, in tokens.

/// Tokens of one exchange, in the provider's own numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Of the prompt, those that the provider had cached.
    pub cached_tokens: u64,
}
