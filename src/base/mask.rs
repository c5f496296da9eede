//! What a model dialect asks of the guard while an answer streams, without knowing the guard.

use crate::base::text::Channel;
use std::sync::Arc;

/// One run of text within a stream: each is masked on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamKey {
    /// Whose text.
    pub channel: Channel,
    /// Of which answer, where several were asked for.
    pub choice: u32,
    /// Of which tool call, for arguments; else it tells runs of one channel apart.
    pub tool: Option<u32>,
    /// Whether the text is itself JSON, which a mask must leave valid.
    pub json: bool,
    /// Its place in the answer, for records, with `#` where choice and tool belong.
    pub path: &'static str,
}

/// The guard blocks the stream: nothing more of it may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The rule that said so.
    pub rule: Arc<str>,
}

/// Masks runs of text that arrive in pieces, holding back what could still become a match.
pub trait StreamMask {
    /// Takes the next piece and appends what may be released to `out`.
    fn push(&mut self, key: StreamKey, text: &str, out: &mut String) -> Result<(), Stopped>;
    /// The run has ended: appends what was still held back.
    fn finish(&mut self, key: StreamKey, out: &mut String) -> Result<(), Stopped>;
}

#[cfg(test)]
pub mod doubles {
    //! Masks for the tests of dialects.

    use super::{Stopped, StreamKey, StreamMask};
    use std::collections::BTreeMap;

    /// Releases everything at once.
    #[derive(Debug)]
    pub struct Pass;

    impl StreamMask for Pass {
        fn push(&mut self, _: StreamKey, text: &str, out: &mut String) -> Result<(), Stopped> {
            out.push_str(text);
            Ok(())
        }
        fn finish(&mut self, _: StreamKey, _: &mut String) -> Result<(), Stopped> {
            Ok(())
        }
    }

    /// Holds everything until its run ends.
    #[derive(Debug, Default)]
    pub struct Hold(BTreeMap<StreamKey, String>);

    impl StreamMask for Hold {
        fn push(&mut self, key: StreamKey, text: &str, _: &mut String) -> Result<(), Stopped> {
            self.0.entry(key).or_default().push_str(text);
            Ok(())
        }
        fn finish(&mut self, key: StreamKey, out: &mut String) -> Result<(), Stopped> {
            out.push_str(&self.0.remove(&key).unwrap_or_default());
            Ok(())
        }
    }

    /// Masks a word with exact hold-back, and blocks at another.
    #[derive(Debug, Default)]
    pub struct Word(Hold);

    /// It.
    pub const WORD: &str = "secret";

    impl StreamMask for Word {
        fn push(&mut self, key: StreamKey, text: &str, out: &mut String) -> Result<(), Stopped> {
            let held = self.0.0.entry(key).or_default();
            held.push_str(text);
            if held.contains("forbidden") {
                return Err(Stopped { rule: "word".into() });
            }
            *held = held.replace(WORD, "[W]");
            let is_begun = |keep: &usize| held.ends_with(WORD.split_at(*keep).0);
            let keep = (0..WORD.len()).rev().find(is_begun).unwrap();
            let rest = held.split_off(held.len() - keep);
            out.push_str(&std::mem::replace(held, rest));
            Ok(())
        }
        fn finish(&mut self, key: StreamKey, out: &mut String) -> Result<(), Stopped> {
            self.0.finish(key, out)
        }
    }
}
