//! The answer to `GET /v1/models`: the names that the caller may use.
//!
//! Policy chooses the names; nothing here tells a caller of a model that it may not use.

use crate::base::json::escape_into;

/// The list object. `created` is in seconds since 1970 and the same for every model: the dialect
/// wants one, and a gateway's public name has no birthday of its own.
#[expect(single_use_lifetimes, reason = "an `impl Trait` bound cannot elide it on stable")]
pub fn list<'a>(names: impl Iterator<Item = &'a str>, created: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    for (order, name) in names.enumerate() {
        if order > 0 {
            out.push(b',');
        }
        model_into(name, created, &mut out);
    }
    out.extend_from_slice(b"]}");
    out
}

/// One model object, as `GET /v1/models/{name}` answers it.
pub fn one(name: &str, created: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    model_into(name, created, &mut out);
    out
}

fn model_into(name: &str, created: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":\"");
    escape_into(name, out);
    out.extend_from_slice(b"\",\"object\":\"model\",\"created\":");
    out.extend_from_slice(created.to_string().as_bytes());
    out.extend_from_slice(b",\"owned_by\":\"ringwall\"}");
}

#[cfg(test)]
mod tests {
    use super::{list, one};

    #[test]
    fn a_list_holds_every_name_and_may_be_empty() {
        let value: serde_json::Value =
            serde_json::from_slice(&list(["gpt-4o", "a\"b"].into_iter(), 7)).unwrap();
        assert_eq!(value["object"], "list");
        assert_eq!(value["data"][1]["id"], "a\"b");
        assert_eq!(value["data"][0]["owned_by"], "ringwall");
        assert_eq!(list(std::iter::empty(), 7), br#"{"object":"list","data":[]}"#);
        assert_eq!(
            one("m", 7),
            br#"{"id":"m","object":"model","created":7,"owned_by":"ringwall"}"#
        );
    }
}
