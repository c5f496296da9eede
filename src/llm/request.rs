//! What every request to a model has: the ask, its texts, the model's name, and the fields that
//! gates read.
//!
//! Only what a gate reads is checked; whatever else a provider understands passes as it is.

use crate::base::ask::ChatAsk;
use crate::base::json::{Kind, Value, escape_into};
use crate::base::splice::Splices;
use crate::base::text::Text;
use std::fmt;
use std::ops::Range;

/// One request to a model, understood.
#[derive(Debug)]
pub struct ChatRequest {
    /// What is asked.
    pub ask: ChatAsk,
    /// Every text in it.
    pub text: Text,
    /// Where the model's name stands, quotes included.
    pub model: Range<usize>,
    /// The edit that makes the provider count a stream's tokens.
    pub count: Option<CountEdit>,
}

/// A model's name, and where it stands, quotes included.
pub type Named = (String, Range<usize>);
/// A span of the body and what stands there instead.
pub type CountEdit = (Range<usize>, &'static str);

/// Why a request cannot be read (400), in the fields of an error object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatFault {
    /// Stable, for programs.
    pub code: &'static str,
    /// The top-level field that is at fault.
    pub param: Option<&'static str>,
    /// A sentence that names the exact place, such as `messages[3].role`, and what belongs there.
    pub message: String,
}

impl fmt::Display for ChatFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for ChatFault {}

impl ChatFault {
    /// No provider of the model speaks the dialect that it is asked in.
    pub fn unspoken(ask: &ChatAsk) -> Self {
        let dialect = ask.api.dialect().name();
        Self {
            code: "dialect_not_served",
            param: Some("model"),
            message: format!(
                "No provider of this model speaks the `{dialect}` dialect, in which you ask it. \
                 Nothing is translated between dialects: ask it in another one."
            ),
        }
    }
}

impl ChatRequest {
    /// Puts the provider's own name of the model in place of the public one and, for a stream,
    /// makes the provider count its tokens. `ChatStream` takes that count out again where the
    /// caller did not ask for it.
    pub fn rewrite(&self, upstream_model: &str, splices: &mut Splices) {
        if upstream_model != self.ask.model {
            let mut name = Vec::with_capacity(upstream_model.len() + 2);
            name.push(b'"');
            escape_into(upstream_model, &mut name);
            name.push(b'"');
            splices.replace(self.model.clone(), name);
        }
        if let Some((span, with)) = &self.count {
            splices.replace(span.clone(), with.as_bytes());
        }
    }
}

/// The edit that asks for usage in the caller's stead; none where it asked itself.
pub fn count_edit(root: Value<'_>) -> Result<Option<CountEdit>, ChatFault> {
    // The root is never empty here: it holds a model.
    let after = |value: Value<'_>| value.span().start + 1..value.span().start + 1;
    let Some(options) = root.member("stream_options") else {
        let edit = (after(root), r#""stream_options":{"include_usage":true},"#);
        return Ok(Some(edit));
    };
    if options.is_null() {
        return Ok(Some((options.span(), r#"{"include_usage":true}"#)));
    }
    if !options.is_object() {
        return Err(wrong("stream_options", "stream_options", "an object"));
    }
    match options.member("include_usage").map(|value| (value, value.kind())) {
        None => {
            let empty = options.members().next().is_none();
            let with = if empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
            Ok(Some((after(options), with)))
        }
        Some((_, Kind::Bool(true))) => Ok(None),
        Some((value, Kind::Bool(false) | Kind::Null)) => Ok(Some((value.span(), "true"))),
        Some(_) => {
            Err(wrong("stream_options", "stream_options.include_usage", "`true` or `false`"))
        }
    }
}

/// The model's name, and where it stands.
pub fn model(root: Value<'_>) -> Result<Named, ChatFault> {
    let model = required(root, "model")?;
    let name = model.as_str().ok_or_else(|| wrong("model", "model", "a string"))?;
    if name.is_empty() {
        return Err(wrong("model", "model", "the name of a model"));
    }
    Ok((name.to_owned(), model.span()))
}

/// A member that must be there.
pub fn required<'a>(root: Value<'a>, name: &'static str) -> Result<Value<'a>, ChatFault> {
    root.member(name).ok_or_else(|| missing(name, name))
}

/// A member that may be absent; `null` says the same in this dialect.
pub fn optional<'a>(root: Value<'a>, name: &str) -> Option<Value<'a>> {
    root.member(name).filter(|value| !value.is_null())
}

/// A truth value; false where it is absent.
pub fn flag(root: Value<'_>, name: &'static str) -> Result<bool, ChatFault> {
    optional(root, name).map_or(Ok(false), |value| {
        value.as_bool().ok_or_else(|| wrong(name, name, "`true` or `false`"))
    })
}

/// A whole number, if there.
pub fn whole(root: Value<'_>, name: &'static str) -> Result<Option<u64>, ChatFault> {
    optional(root, name)
        .map(|value| value.as_u64().ok_or_else(|| wrong(name, name, "a whole number")))
        .transpose()
}

/// The elements of a list that may be absent.
pub fn list<'a>(
    root: Value<'a>,
    name: &'static str,
) -> Result<impl Iterator<Item = Value<'a>>, ChatFault> {
    let value = optional(root, name);
    if value.is_some_and(|value| !value.is_array()) {
        return Err(wrong(name, name, "an array of objects"));
    }
    Ok(value.into_iter().flat_map(Value::items))
}

/// Something is not there.
pub fn missing(param: &'static str, at: &str) -> ChatFault {
    ChatFault {
        code: "missing_required_parameter",
        param: Some(param),
        message: format!("`{at}` is missing."),
    }
}

/// Something is of another kind than it must be.
pub fn wrong(param: &'static str, at: &str, wanted: &str) -> ChatFault {
    ChatFault {
        code: "invalid_type",
        param: Some(param),
        message: format!("`{at}` must be {wanted}."),
    }
}
