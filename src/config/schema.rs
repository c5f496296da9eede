//! The JSON Schema of the configuration, for editors, made from the description of its keys.
//!
//! Draft 7, since that is what TOML editors read. It says shapes; that a name is known, or a file
//! there, only `ringwall check` can say.

use crate::config::keys::{Absent, Key, TOP, Table};
use crate::config::kinds::Kind;
use serde_json::{Map, Value, json};

/// The schema as pretty JSON with a line end.
pub fn json() -> String {
    let mut top = object(&TOP);
    if let Some(fields) = top.as_object_mut() {
        fields.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        fields.insert("title".to_owned(), json!("Ringwall configuration"));
    }
    format!("{top:#}\n")
}

fn object(table: &'static Table) -> Value {
    let mut properties: Map<String, Value> =
        table.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    for (name, child) in table.children() {
        let inner = object(child);
        let value = if child.is_named() {
            json!({
                "type": "object",
                "additionalProperties": inner,
                "description": child.about,
            })
        } else if child.many {
            json!({ "type": "array", "items": inner, "description": child.about })
        } else {
            inner
        };
        properties.insert(name.to_owned(), value);
    }
    let needed: Vec<&str> =
        table.keys.iter().filter(|key| key.absent == Absent::Refused).map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": table.about,
        "properties": properties,
        "required": needed,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut schema = shape(key.kind);
    let usual = usual(key);
    if let Some(fields) = schema.as_object_mut() {
        let about = format!("{}\n\nTakes {}.", key.about, key.kind.allowed());
        fields.insert("description".to_owned(), Value::String(about));
        fields.extend(usual.map(|usual| ("default".to_owned(), usual)));
    }
    schema
}

/// The default as JSON: every default but that of `workers` is written the same in both.
fn usual(key: &Key) -> Option<Value> {
    let Absent::Is(text, _) = key.absent else { return None };
    serde_json::from_str(text).ok()
}

fn shape(kind: Kind) -> Value {
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let list = |pattern: &str| {
        let items = json!({ "type": "string", "pattern": pattern });
        json!({ "type": "array", "items": items, "minItems": 1 })
    };
    match kind {
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::Size(..) => pattern("^[0-9]+ *(B|[KMGT]i?B)$"),
        Kind::Span(..) => pattern("^[0-9]+ *(ms|s|m|h|d)$"),
        Kind::Name => pattern("^[A-Za-z0-9_.@:-]{1,64}$"),
        Kind::ModelName => pattern("^[A-Za-z0-9_.@:/-]{1,128}$"),
        Kind::Text => json!({ "type": "string", "minLength": 1, "maxLength": 256 }),
        Kind::Patterns => list("^[^*]*\\*?$"),
        Kind::RulePattern => pattern("^[^*]*\\*?$"),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Words(words) => json!({
            "type": "array",
            "items": { "type": "string", "enum": words },
            "minItems": 1,
            "uniqueItems": true,
        }),
        Kind::Address => pattern("^.*:[0-9]{1,5}$"),
        Kind::Endpoint => pattern("^(.*:[0-9]{1,5}|unix:/.*)$"),
        Kind::Endpoints => list("^(.*:[0-9]{1,5}|unix:/.*)$"),
        Kind::Mode => pattern("^[0-7]{3,4}$"),
        Kind::Networks => list("^([0-9A-Fa-f.:]+(/[0-9]{1,3})?|unix:)$"),
        Kind::HostName => pattern("^[A-Za-z0-9_.:-]+$"),
        Kind::HostNames => list("^(\\*\\.)?[A-Za-z0-9_.-]+$"),
        Kind::CertificateNames => list("^(spiffe://|dns:|cn:).+$"),
        Kind::Url => pattern("^(https?://|unix:/)[^@?#]+$"),
        Kind::Secret => pattern("^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"),
        Kind::Header => pattern("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"),
        Kind::Certificates | Kind::PrivateKey | Kind::File | Kind::Folder => {
            json!({ "type": "string", "minLength": 1 })
        }
        Kind::Date => json!({}),
        Kind::Digests => list("^sha256:[0-9A-Fa-f]{64}$"),
        Kind::Routes => list("^[^/]+/.+$"),
        Kind::Prefix => pattern("^/[A-Za-z0-9/_.~-]*$"),
        Kind::Upstream => pattern("^([A-Za-z0-9_.@:-]{1,64}|https?://[^@?#]+)$"),
        Kind::Identity => json!({
            "type": "object",
            "additionalProperties": { "type": "string", "enum": ["user", "name", "app", "team"] },
        }),
        Kind::Texts => json!({
            "type": "array",
            "minItems": 1,
            "items": { "type": "string", "minLength": 1, "maxLength": 256 },
        }),
        Kind::Files => json!({
            "type": "array",
            "minItems": 1,
            "items": { "type": "string", "minLength": 1 },
        }),
        Kind::Expression => json!({ "type": "string", "minLength": 1 }),
        Kind::RuleName => pattern("^[a-z0-9_]{1,48}\\.[a-z0-9_]{1,48}$"),
        Kind::Placeholder => pattern("^\\[[A-Z_]+\\]$"),
        Kind::Metadata => json!({
            "type": "object",
            "additionalProperties": { "type": "string" },
            "maxProperties": 32,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::json;
    use crate::config::keys::TABLES;

    #[test]
    fn the_schema_knows_every_key() {
        let schema: serde_json::Value = serde_json::from_str(&json()).unwrap();
        for table in TABLES {
            let mut place = &schema;
            for part in table.path.split('.').filter(|part| !part.is_empty()) {
                place = &place["properties"][part];
                let inner = place.get("additionalProperties").filter(|inner| inner.is_object());
                place = place.get("items").or(inner).unwrap_or(place);
            }
            for key in table.keys {
                assert!(place["properties"][key.name].is_object(), "{} {}", table.path, key.name);
            }
        }
    }
}
