//! The keys of `[bounds]` and `[deadlines]`: how much and how long, each with its reason.

use crate::config::keys::{LONGEST, Table, usual};
use crate::config::kinds::Kind;

/// Sizes, rates and counts.
pub static BOUNDS: Table = Table {
    path: "bounds",
    many: false,
    about: "How much one client or one upstream may send, hold or take. Beyond it, it is refused.",
    keys: &[
        usual(
            "head",
            Kind::Size("1 KiB", "1 MiB"),
            ("\"32 KiB\"", "room for a large token and cookies, and no more"),
            "Bytes of a request head, else 431.",
        ),
        usual(
            "headers",
            Kind::Count(8, 128),
            ("100", "clients send a few dozen"),
            "Header fields of a request, else 431.",
        ),
        usual(
            "uri",
            Kind::Size("256 B", "8 KiB"),
            ("\"8 KiB\"", "what browsers and proxies agree on; no path of ours is long"),
            "Bytes of a request's target, else 414.",
        ),
        usual(
            "body",
            Kind::Size("1 KiB", "1 GiB"),
            ("\"10 MiB\"", "a long context with a few images"),
            "Bytes of a request body as it is inspected, so after a content coding is taken off, \
             else 413. It is held whole, since it is inspected whole.",
        ),
        usual(
            "encodings",
            Kind::Choice(&["decode", "refuse"]),
            ("\"decode\"", "clients that compress keep working, and nothing is hidden"),
            "Bodies with a `content-encoding`. `decode`: gzip, deflate, br and zstd, at most two \
             over one another, are taken off under `body` (an upstream's under `answer`), and \
             what goes on has none. `refuse`: a request is answered with 415, an upstream's \
             answer is not passed on. Where nobody looks, as on a route without `guard` or in the \
             answers of any route, bodies keep their coding.",
        ),
        usual(
            "body_rate",
            Kind::Size("0 B", "1 GiB"),
            (
                "\"1 KiB\"",
                "a modem is five times as fast; an attack on sockets sends a few bytes a second",
            ),
            "Bytes a second that a request body must bring on average once \
             `deadlines.body_grace` is over, else 408. `0 B`: any.",
        ),
        usual(
            "write_rate",
            Kind::Size("0 B", "1 GiB"),
            (
                "\"1 KiB\"",
                "a modem is five times as fast; an attack on sockets reads a few bytes a second",
            ),
            "Bytes a second that a client must take of what waits for it, measured over \
             `deadlines.write`, else it is closed. Waiting for an upstream does not count. `0 B`: \
             any, as long as it takes some.",
        ),
        usual(
            "answer",
            Kind::Size("1 KiB", "1 GiB"),
            ("\"32 MiB\"", "tool results can hold files"),
            "Bytes of an upstream's answer that is no stream, decoded. It is held whole.",
        ),
        usual(
            "event",
            Kind::Size("1 KiB", "256 MiB"),
            ("\"1 MiB\"", "one event carries a few tokens or one tool result"),
            "Bytes of one event of an upstream's stream.",
        ),
        usual(
            "held",
            Kind::Size("4 KiB", "16 MiB"),
            (
                "\"64 KiB\"",
                "one run of text holds a word, at most a kilobyte; an answer has a few runs",
            ),
            "Bytes that guards hold back of one stream, over all its choices and tool calls. An \
             upstream that forces more is cut off.",
        ),
        usual(
            "upstream_head",
            Kind::Size("1 KiB", "1 MiB"),
            ("\"64 KiB\"", "twice what clients may send: upstreams are fewer and set cookies"),
            "Bytes of the head of an upstream's answer.",
        ),
        usual(
            "upstream_headers",
            Kind::Count(8, 128),
            ("128", "providers send forty"),
            "Header fields of an upstream's answer.",
        ),
        usual(
            "connections",
            Kind::Count(1, 1_000_000),
            ("16384", "an idle one takes a few kilobytes; the file limit must allow them"),
            "Client connections of one worker. What comes beyond is closed at once.",
        ),
        usual(
            "connections_total",
            Kind::Count(1, 10_000_000),
            ("65536", "four workers' worth; the file limit must allow them"),
            "Client connections of all workers together.",
        ),
        usual(
            "connections_per_address",
            Kind::Count(1, 10_000_000),
            ("8192", "an office or a proxy may stand behind one; still, none may take all"),
            "Client connections from one IP address, an IPv6 network of 64 bits counting as one, \
             over all workers. Addresses that share one of 65,536 counters count together.",
        ),
        usual(
            "streams_per_caller",
            Kind::Count(1, 1_000_000),
            ("4096", "an agent has a few; a caller that leaves them open by thousands has a fault"),
            "Streams that one caller may have open over all workers, else 429.",
        ),
        usual(
            "memory",
            Kind::Size("1 MiB", "16 TiB"),
            ("\"1 GiB\"", "what the smallest usual container has"),
            "Resident memory at which new requests are answered with 503 until it is down by a \
             tenth. Live exchanges go on.",
        ),
    ],
};

/// Times.
pub static DEADLINES: Table = Table {
    path: "deadlines",
    many: false,
    about: "How long each step may take. None of them limits a stream as a whole.",
    keys: &[
        usual(
            "first_request",
            Kind::Span("10ms", LONGEST),
            ("\"10s\"", "who connects has something to say"),
            "A new client connection's first byte.",
        ),
        usual(
            "head",
            Kind::Span("10ms", LONGEST),
            ("\"10s\"", "a slow line manages; a slow attack does not hold a socket long"),
            "A client's request head, from its first byte, else 408.",
        ),
        usual(
            "body",
            Kind::Span("10ms", LONGEST),
            ("\"60s\"", "10 MiB over a slow line"),
            "A client's request body as a whole, else 408.",
        ),
        usual(
            "body_grace",
            Kind::Span("10ms", LONGEST),
            ("\"10s\"", "a line may falter; an attack is over soon"),
            "How long a request body may come at any pace, before `bounds.body_rate` holds.",
        ),
        usual(
            "idle",
            Kind::Span("10ms", LONGEST),
            ("\"60s\"", "long enough to be used again, short enough to be given back"),
            "A client connection between two requests.",
        ),
        usual(
            "write",
            Kind::Span("10ms", LONGEST),
            ("\"20s\"", "a client that reads nothing for so long is gone"),
            "A client that does not read what it is sent, or takes less than `bounds.write_rate` \
             for so long.",
        ),
        usual(
            "connect",
            Kind::Span("10ms", LONGEST),
            ("\"5s\"", "the next route should get its turn"),
            "Connecting to an upstream, TLS included.",
        ),
        usual(
            "first_byte",
            Kind::Span("10ms", LONGEST),
            ("\"120s\"", "reasoning models think before they speak"),
            "Until an upstream's answer begins.",
        ),
        usual(
            "upstream_idle",
            Kind::Span("10ms", LONGEST),
            ("\"120s\"", "a stream may pause while the model thinks"),
            "Between two reads of an upstream's answer.",
        ),
    ],
};
