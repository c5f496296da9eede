//! A classifier that the user brings: an ONNX model with its tokenizer, run by ONNX Runtime.
//!
//! A long text is cut into windows of tokens that overlap, none of it is left out, and the highest
//! score counts. A call takes milliseconds: it has no place on a worker.

#![cfg(feature = "onnx")]

use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use tokenizers::{Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

/// Tokens of a window, those that begin and end it included: what such models were trained on.
const WINDOW_TOKENS: usize = 512;
/// Tokens that two windows share.
const OVERLAP_TOKENS: usize = 64;

/// A model, ready to score.
pub struct Encoder {
    session: Session,
    tokenizer: Tokenizer,
    label: usize,
    /// The inputs that the model has, of those that are known.
    inputs: Vec<Input>,
}

/// The value of an input, and its name.
type Named<'a> = (Cow<'a, str>, SessionInputValue<'a>);

/// An input of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Ids,
    Mask,
    Types,
}

impl Input {
    const ALL: [Self; 3] = [Self::Ids, Self::Mask, Self::Types];

    const fn name(self) -> &'static str {
        match self {
            Self::Ids => "input_ids",
            Self::Mask => "attention_mask",
            Self::Types => "token_type_ids",
        }
    }
}

/// Why there is no model, or no score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncoderFault {
    /// The runtime's library cannot be loaded.
    Library,
    /// The model's file is none, or has no `input_ids`.
    Model,
    /// It did not run, or has not that label.
    Run,
    /// The tokenizer's file is none.
    Tokenizer,
}

impl fmt::Display for EncoderFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Library => "the library of ONNX Runtime cannot be loaded",
            Self::Model => "the model cannot be loaded, or has no input `input_ids`",
            Self::Run => "the model does not run, or has no such label",
            Self::Tokenizer => "the tokenizer cannot be loaded",
        })
    }
}

impl std::error::Error for EncoderFault {}

impl fmt::Debug for Encoder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Encoder").field("label", &self.label).finish_non_exhaustive()
    }
}

impl Encoder {
    /// Loads a model; `label` is the index of the class that is looked for.
    pub fn load(
        library: &Path,
        model: &Path,
        tokenizer: &Path,
        label: usize,
    ) -> Result<Self, EncoderFault> {
        let runtime = ort::init_from(library).map_err(|_no| EncoderFault::Library)?;
        let runtime = runtime.build().map_err(|_no| EncoderFault::Library)?;
        let builder = Session::builder(&runtime).map_err(|_no| EncoderFault::Model)?;
        let mut builder = builder.with_intra_threads(1).map_err(|_no| EncoderFault::Model)?;
        let session = builder.commit_from_file(model).map_err(|_no| EncoderFault::Model)?;
        let has = |input: &Input| session.inputs().iter().any(|own| own.name() == input.name());
        let inputs: Vec<Input> = Input::ALL.into_iter().filter(has).collect();
        if !inputs.contains(&Input::Ids) {
            return Err(EncoderFault::Model);
        }
        let mut tokenizer =
            Tokenizer::from_file(tokenizer).map_err(|_no| EncoderFault::Tokenizer)?;
        let windows = TruncationParams {
            max_length: WINDOW_TOKENS,
            stride: OVERLAP_TOKENS,
            strategy: TruncationStrategy::LongestFirst,
            direction: TruncationDirection::Right,
        };
        tokenizer.with_truncation(Some(windows)).map_err(|_no| EncoderFault::Tokenizer)?;
        tokenizer.with_padding(None);
        Ok(Self { session, tokenizer, label, inputs })
    }

    /// How sure the model is that the text is of the class that is looked for, from 0 to 1.
    /// `given_up` is asked between windows.
    pub fn score(&mut self, text: &str, given_up: &dyn Fn() -> bool) -> Result<f32, EncoderFault> {
        let encoded = self.tokenizer.encode(text, true).map_err(|_no| EncoderFault::Run)?;
        let mut highest = 0.0_f32;
        for window in std::iter::once(&encoded).chain(encoded.get_overflowing()) {
            if given_up() {
                return Err(EncoderFault::Run);
            }
            highest = highest.max(self.run(window)?);
        }
        Ok(highest)
    }

    fn run(&mut self, window: &tokenizers::Encoding) -> Result<f32, EncoderFault> {
        let mut inputs: Vec<Named<'_>> = Vec::new();
        for input in &self.inputs {
            let values = match input {
                Input::Ids => window.get_ids(),
                Input::Mask => window.get_attention_mask(),
                Input::Types => window.get_type_ids(),
            };
            let values: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
            let tensor = Tensor::from_array(([1, values.len()], values));
            let tensor = tensor.map_err(|_no| EncoderFault::Run)?;
            inputs.push((Cow::Borrowed(input.name()), tensor.into()));
        }
        let outputs = self.session.run(inputs).map_err(|_no| EncoderFault::Run)?;
        let (_, first) = outputs.iter().next().ok_or(EncoderFault::Run)?;
        let (_, logits) = first.try_extract_tensor::<f32>().map_err(|_no| EncoderFault::Run)?;
        chance(logits, self.label).ok_or(EncoderFault::Run)
    }
}

/// The chance of one of several classes by their logits (softmax), or of the only one (logistic).
fn chance(logits: &[f32], label: usize) -> Option<f32> {
    if let [only] = logits {
        return (label <= 1).then(|| 1.0 / (1.0 + (-only).exp()));
    }
    let own = *logits.get(label)?;
    let sum: f32 = logits.iter().map(|other| (other - own).exp()).sum();
    let chance = 1.0 / sum;
    chance.is_finite().then_some(chance)
}

/// A score in thousandths, as it is compared with a threshold.
pub fn thousandths(score: f32) -> u32 {
    let clamped = score.clamp(0.0, 1.0);
    // Counted, since there is no conversion that could not lose something.
    (0..=1000_u16).rev().find(|step| f32::from(*step) <= clamped * 1000.0).map_or(0, u32::from)
}

#[cfg(test)]
mod tests {
    use super::{chance, thousandths};

    #[test]
    fn logits_become_chances() {
        assert!((chance(&[0.0], 1).unwrap() - 0.5).abs() < 1e-6);
        assert!(chance(&[-1.0, 3.0], 1).unwrap() > 0.98);
        assert!((chance(&[1.0, 1.0, 1.0, 1.0], 2).unwrap() - 0.25).abs() < 1e-6);
        assert_eq!((chance(&[1.0, 2.0], 2), chance(&[], 0)), (None, None));
        assert_eq!(chance(&[f32::NAN, 1.0], 1), None);
    }

    #[test]
    fn a_score_is_compared_in_thousandths() {
        assert_eq!([0.0, 0.5, 0.9994, 1.0, 7.0].map(thousandths), [0, 500, 999, 1000, 1000]);
    }
}
