//! Header fields in the order they came, names in lower case, values as bytes (RFC 9110 §5).
//!
//! Names and values stand in two buffers with a list of ends, so that a head costs three
//! allocations however many fields it has.

/// Fields that belong to one connection and are never passed on (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The fields of one head.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    names: String,
    values: Vec<u8>,
    ends: Vec<Ends>,
}

/// Where a field's name and value end; they begin where the field before ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    name: usize,
    value: usize,
}

impl Fields {
    /// Room for that many fields with that many bytes of names and of values.
    pub fn with_capacity(count: usize, names: usize, values: usize) -> Self {
        Self {
            names: String::with_capacity(names),
            values: Vec::with_capacity(values),
            ends: Vec::with_capacity(count),
        }
    }

    /// The first field of that name (lower case).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The first field of that name, where its value is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// How many fields have that name.
    pub fn count(&self, name: &str) -> usize {
        self.iter().filter(|(key, _)| *key == name).count()
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let (mut name_start, mut value_start) = (0, 0);
        self.ends.iter().map(move |ends| {
            let name = self.names.get(name_start..ends.name).unwrap_or_default();
            let value = self.values.get(value_start..ends.value).unwrap_or_default();
            (name_start, value_start) = (ends.name, ends.value);
            (name, value)
        })
    }

    /// The fields that may travel on: without those of the connection and those that
    /// `Connection` names.
    pub fn end_to_end(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().filter(|(name, _)| !HOP_BY_HOP.contains(name) && !self.nominates(name))
    }

    /// Adds a field at the end; the name is kept in lower case.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let from = self.names.len();
        self.names.push_str(name);
        if let Some(added) = self.names.get_mut(from..) {
            added.make_ascii_lowercase();
        }
        self.values.extend_from_slice(value);
        self.ends.push(Ends { name: self.names.len(), value: self.values.len() });
    }

    /// `content-type` without its parameters, as it was written.
    pub fn media_type(&self) -> Option<&str> {
        let whole = self.text("content-type")?;
        whole.split(';').next().map(str::trim).filter(|media| !media.is_empty())
    }

    /// Whether a `Connection` field holds that option, in any case.
    pub fn nominates(&self, option: &str) -> bool {
        self.iter().filter(|(name, _)| *name == "connection").any(|(_, value)| {
            value
                .split(|byte| *byte == b',')
                .any(|part| part.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
        })
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Names only: values hold credentials.
        out.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in list {
            fields.push(name, value.as_bytes());
        }
        fields
    }

    #[test]
    fn fields_are_found_by_lower_case_name_in_order() {
        let fields = fields(&[("X-A", "1"), ("b", ""), ("x-a", "2")]);
        assert_eq!(fields.text("x-a"), Some("1"));
        assert_eq!(fields.text("b"), Some(""));
        assert_eq!(fields.get("X-A"), None);
        assert_eq!(fields.count("x-a"), 2);
        let all: Vec<_> = fields.iter().collect();
        assert_eq!(all, [("x-a", &b"1"[..]), ("b", b""), ("x-a", b"2")]);
    }

    #[test]
    fn what_belongs_to_the_connection_stays_behind() {
        let fields = fields(&[
            ("connection", "close, X-Mine"),
            ("te", "trailers"),
            ("x-mine", "1"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        let names: Vec<_> = fields.end_to_end().map(|(name, _)| name).collect();
        assert_eq!(names, ["accept"]);
    }

    #[test]
    fn a_media_type_is_without_parameters() {
        assert_eq!(
            fields(&[("content-type", "text/event-stream; charset=utf-8")]).media_type(),
            Some("text/event-stream")
        );
        assert_eq!(fields(&[("content-type", ";x")]).media_type(), None);
        assert_eq!(fields(&[]).media_type(), None);
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", fields(&[("authorization", "secret")])), "[\"authorization\"]");
    }
}
