//! What keys take: each kind of value, what messages call it and what they say is allowed.

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number from the first to the second.
    Count(u64, u64),
    /// A size in bytes, from the first to the second.
    Size(&'static str, &'static str),
    /// A duration, from the first to the second.
    Span(&'static str, &'static str),
    /// A name that other tables and records use.
    Name,
    /// A model's public name; may hold slashes.
    ModelName,
    /// Any short text.
    Text,
    /// A list of names, each of which may end in `*`.
    Patterns,
    /// The name of a guard rule, which may end in `*`.
    RulePattern,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of these words.
    Words(&'static [&'static str]),
    /// An address and port.
    Address,
    /// An address and port, or a Unix socket.
    Endpoint,
    /// A list of those.
    Endpoints,
    /// Permissions of a file.
    Mode,
    /// A list of ranges of addresses.
    Networks,
    /// The name of a host.
    HostName,
    /// A list of names of hosts, each of which may begin with `*.`.
    HostNames,
    /// A list of names in certificates.
    CertificateNames,
    /// Where an upstream is.
    Url,
    /// Where a secret is; never the secret.
    Secret,
    /// The name of a header field.
    Header,
    /// A PEM file of certificates.
    Certificates,
    /// A PEM file of a private key.
    PrivateKey,
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A date or a time in UTC.
    Date,
    /// A list of digests of API keys.
    Digests,
    /// A list of `provider/model`.
    Routes,
    /// The beginning of paths.
    Prefix,
    /// A provider's name, or where an upstream is.
    Upstream,
    /// A table of header names, each with what of the caller it holds.
    Identity,
    /// A table of texts.
    Metadata,
    /// A list of texts.
    Texts,
    /// A list of paths of files.
    Files,
    /// A regular expression.
    Expression,
    /// The name of a guard rule that is made.
    RuleName,
    /// What stands in the place of a value.
    Placeholder,
}

/// What begins a route's paths.
const PREFIX: &str = "a path such as `\"/v1/files\"` in its plain form: letters, digits and \
                      `/ _ - . ~`, neither `//` nor dot segments; `\"/\"` is every path";
/// Where a route leads.
const UPSTREAM: &str = "the name of a `[[provider]]`, or `\"https://host\"` or \
                        `\"http://host:port\"` without a path";
/// What an upstream is told of a caller.
const IDENTITY: &str = "a table such as `{ x-user = \"user\" }` of header names, none that \
                        frames a message, each with `\"user\"`, `\"name\"`, `\"app\"` or \
                        `\"team\"`";

/// What finds values of the user's own.
const EXPRESSION: &str = "a regular expression that cannot match nothing, such as \
                          `'FAL-[0-9]{4}'`; without look-around and back-references";
/// What a rule of the user's own is called.
const RULE_NAME: &str = "a family and a name in small letters, such as \
                          `\"brand.codename\"`";
/// Where clients connect.
const ENDPOINT: &str = "an IP address and a port such as `\"127.0.0.1:8080\"`, or \
                          `\"unix:/run/ringwall.sock\"`; `\":8080\"` is loopback; every \
                          interface is `\"0.0.0.0:8080\"`";

impl Kind {
    /// What a value of this kind is called.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Flag => "true or false",
            Self::Count(..) => "a whole number",
            Self::Size(..) => "a size",
            Self::Span(..) => "a duration",
            Self::Name | Self::ModelName => "a name",
            Self::Text => "a text",
            Self::Patterns => "a list of names",
            Self::RulePattern => "the name of a guard rule",
            Self::Choice(_) => "one of a few words",
            Self::Words(_) => "a list of a few words",
            Self::Address => "an address",
            Self::Endpoint => "an address or a Unix socket",
            Self::Endpoints => "a list of addresses",
            Self::Mode => "a file mode",
            Self::Networks => "a list of networks",
            Self::HostName => "a host name",
            Self::HostNames => "a list of host names",
            Self::CertificateNames => "a list of names in certificates",
            Self::Url => "a URL",
            Self::Secret => "a reference to a secret",
            Self::Header => "the name of a header field",
            Self::Certificates => "a PEM file of certificates",
            Self::PrivateKey => "a PEM file of a private key",
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Date => "a date",
            Self::Digests => "a list of key digests",
            Self::Routes => "a list of routes",
            Self::Prefix => "the beginning of a path",
            Self::Upstream => "a provider's name or a URL",
            Self::Identity => "a table of header names",
            Self::Metadata => "a table of texts",
            Self::Texts => "a list of texts",
            Self::Files => "a list of files",
            Self::Expression => "a regular expression",
            Self::RuleName => "the name of a rule",
            Self::Placeholder => "a placeholder",
        }
    }

    /// What one of the values of a list or table is called.
    pub const fn item(self) -> &'static str {
        match self {
            Self::Endpoints => "an address or a Unix socket",
            Self::Networks => "a network",
            Self::HostNames => "a host name",
            Self::CertificateNames => "a name in a certificate",
            Self::Patterns => "a name, or the beginning of names and `*`",
            Self::Digests => "a key digest",
            Self::Routes => "a route",
            Self::Metadata | Self::Texts => "a text",
            Self::Files => "the path of a text file",
            Self::Identity => "a header name with a part of the caller",
            Self::Words(_) => "one of a few words",
            Self::Flag
            | Self::Count(..)
            | Self::Size(..)
            | Self::Span(..)
            | Self::Name
            | Self::ModelName
            | Self::Text
            | Self::RulePattern
            | Self::Choice(_)
            | Self::Address
            | Self::Endpoint
            | Self::Mode
            | Self::HostName
            | Self::Url
            | Self::Secret
            | Self::Header
            | Self::Certificates
            | Self::PrivateKey
            | Self::File
            | Self::Folder
            | Self::Date
            | Self::Prefix
            | Self::Upstream
            | Self::Expression
            | Self::RuleName
            | Self::Placeholder => self.noun(),
        }
    }

    /// What is allowed, as a message and the reference say it.
    pub fn allowed(self) -> String {
        match self {
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Count(least, most) if least == most => format!("`{least}`"),
            Self::Count(least, most) => format!("a whole number from {least} to {most}"),
            Self::Size(least, most) => format!("a size from `\"{least}\"` to `\"{most}\"`"),
            Self::Span(least, most) => format!("a duration from `\"{least}\"` to `\"{most}\"`"),
            Self::Name => "1 to 64 letters, digits and `_ - . @ :`, in quotes".to_owned(),
            Self::ModelName => "1 to 128 letters, digits and `_ - . @ : /`, in quotes".to_owned(),
            Self::Text => "a text of 1 to 256 characters, in quotes".to_owned(),
            Self::Patterns => "a list of names, each exact or ending in `*`".to_owned(),
            Self::RulePattern => "a rule's name such as `\"pii.email\"`, or the beginning of \
                                  names such as `\"pii.*\"`"
                .to_owned(),
            Self::Choice(words) => quoted(words),
            Self::Words(words) => format!("a list of at least one of {}", quoted(words)),
            Self::Address => "an IP address and a port such as `\"127.0.0.1:8080\"`; \
                              `\":8080\"` is loopback; every interface is `\"0.0.0.0:8080\"`"
                .to_owned(),
            Self::Endpoint => ENDPOINT.to_owned(),
            Self::Endpoints => "a list of addresses such as `[\"127.0.0.1:8080\", \
                                \"unix:/run/ringwall.sock\"]`; `\":8080\"` is loopback; every \
                                interface is `\"0.0.0.0:8080\"`"
                .to_owned(),
            Self::Mode => "three or four octal digits such as `\"0660\"`, in quotes".to_owned(),
            Self::Networks => "a list such as `[\"10.0.0.0/8\", \"192.0.2.7\", \"unix:\"]`; \
                               `\"unix:\"` is whoever connects to a Unix socket"
                .to_owned(),
            Self::HostName => {
                "a host name such as `\"api.example.org\"`, or an IP address".to_owned()
            }
            Self::HostNames => "a list of host names such as `[\"example.org\", \
                                \"*.example.org\"]`"
                .to_owned(),
            Self::CertificateNames => "a list such as `[\"spiffe://example.org/agent\", \
                                       \"dns:agent.example.org\", \"cn:agent\"]`"
                .to_owned(),
            Self::Url => "`\"https://host\"`, `\"http://host:port/path\"` or \
                          `\"unix:/run/one.sock:/path\"`, without query, fragment or credentials"
                .to_owned(),
            Self::Secret => "`\"env:NAME\"` or `\"file:PATH\"`".to_owned(),
            Self::Header => {
                "a header name such as `\"x-api-key\"`, none that frames a message".to_owned()
            }
            Self::Certificates => {
                "the path of a PEM file that holds `BEGIN CERTIFICATE`".to_owned()
            }
            Self::PrivateKey => "the path of a PEM file that holds `PRIVATE KEY`".to_owned(),
            Self::File => "the path of a file".to_owned(),
            Self::Folder => "the path of a folder; it is made if it is not there".to_owned(),
            Self::Date => {
                "a date `\"2026-12-31\"` or a time in UTC `\"2026-12-31T23:59:59Z\"`".to_owned()
            }
            Self::Digests => {
                "a list of `\"sha256:…\"` with 64 hex digits, from `ringwall key new`".to_owned()
            }
            Self::Routes => "a list of at least one `\"provider/model\"`".to_owned(),
            Self::Prefix => PREFIX.to_owned(),
            Self::Upstream => UPSTREAM.to_owned(),
            Self::Identity => IDENTITY.to_owned(),
            Self::Texts => "a list of texts of 1 to 256 characters".to_owned(),
            Self::Files => "a list of paths such as `[\"packs/mine.toml\"]`".to_owned(),
            Self::Expression => EXPRESSION.to_owned(),
            Self::RuleName => RULE_NAME.to_owned(),
            Self::Placeholder => "capitals and `_` in brackets, such as `\"[PROJECT]\"`".to_owned(),
            Self::Metadata => "a table of up to 32 texts, such as `{ cost = \"4711\" }`".to_owned(),
        }
    }

    /// Whether a value may be something that must not be shown.
    pub const fn is_sensitive(self) -> bool {
        matches!(self, Self::Secret | Self::Digests)
    }
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
    quoted.join(", ")
}
