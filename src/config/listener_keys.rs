//! The keys of listeners, and of TLS towards upstreams: see `keys`, of which they are a part.

use crate::config::keys::{Key, Table, needed, optional, usual};
use crate::config::kinds::Kind;

/// Addresses with TLS, the PROXY protocol, or both.
pub static LISTENER: Table = Table {
    path: "listener",
    many: true,
    about: "One more address that clients connect to, usually with TLS. Certificates, authorities \
            and what they are for are read again on SIGHUP, for new connections.",
    keys: &[
        needed("address", Kind::Endpoint, "Where clients connect."),
        usual(
            "mode",
            Kind::Mode,
            ("\"0660\"", "its owner and group, and nobody else"),
            "Permissions of a Unix socket's file.",
        ),
        optional(
            "certificate",
            Kind::Certificates,
            "The certificate chain, leaf first. Absent: no TLS.",
        ),
        optional("private_key", Kind::PrivateKey, "The key of the leaf. Goes with `certificate`."),
        usual(
            "unknown_name",
            Kind::Choice(&["first", "refuse"]),
            ("\"first\"", "as nginx and HAProxy do: their default server answers"),
            "What a client gets that names no host, or one that no certificate is for: the first \
             certificate, or a TLS alert.",
        ),
        optional(
            "client_ca",
            Kind::Certificates,
            "Authorities that vouch for clients' certificates. Absent: none is asked for.",
        ),
        usual(
            "client_auth",
            Kind::Choice(&["required", "optional"]),
            ("\"required\"", "who names an authority wants to know who connects"),
            "Whether a client without a certificate is refused. One that is not vouched for always \
             is.",
        ),
        usual(
            "proxy_protocol",
            Kind::Flag,
            ("false", "anybody could claim any address by it"),
            "Whether each connection begins with a PROXY header, version 1 or 2. Goes with \
             `proxy_from`.",
        ),
        optional(
            "proxy_from",
            Kind::Networks,
            "Whose PROXY headers are believed. Nobody else may connect to this listener.",
        ),
    ],
};

/// More certificates of one listener.
pub static LISTENER_SNI: Table = Table {
    path: "listener.sni",
    many: true,
    about: "One more certificate of the listener above it, for clients that ask for its names \
            (SNI). An exact name wins over a wildcard; of several certificates for one name the \
            first wins whose algorithm the client knows, so RSA and ECDSA may stand side by side.",
    keys: &[
        needed("certificate", Kind::Certificates, "The certificate chain, leaf first."),
        needed("private_key", Kind::PrivateKey, "The key of the leaf."),
        optional(
            "names",
            Kind::HostNames,
            "The names that it is shown for. Absent: the DNS names in it.",
        ),
    ],
};

/// Who vouches for an upstream.
pub(super) const CA: Key = optional(
    "ca",
    Kind::Certificates,
    "Authorities that its certificate is checked against, and no others.",
);
/// Whose authorities are believed where there is no `ca`.
pub(super) const ROOTS: Key = usual(
    "roots",
    Kind::Choice(&["mozilla", "system"]),
    ("\"mozilla\"", "the same on every machine"),
    "Whose authorities are believed where `ca` names none: Mozilla's, built in, or those that the \
     operating system keeps.",
);
/// What we show to an upstream.
pub(super) const CLIENT_CERTIFICATE: Key = optional(
    "certificate",
    Kind::Certificates,
    "The certificate that we show it, leaf first. Absent: none.",
);
/// Its key.
pub(super) const CLIENT_KEY: Key =
    optional("private_key", Kind::PrivateKey, "The key of that. Goes with `certificate`.");
/// The name to ask for and to check.
pub(super) const SERVER_NAME: Key = optional(
    "server_name",
    Kind::HostName,
    "The name that it is asked for (SNI) and that its certificate must be for. Absent: the host of \
     its `url`.",
);
