"""Text to hashed features, bit for bit as `src/guard/words.rs` and `src/guard/linear.rs` do it."""

import itertools
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

MASK = (1 << 64) - 1
K = 0x9E3779B97F4A7C15
SEED = 0x51_7C_C1_B7_27_22_0A_95
BITS = 16
LEXICON = Path(__file__).parents[2] / "config/packs/lexicon.txt"

# Letters outside of ASCII: everything from U+00C0 on but signs, blanks and pictures.
LETTER = (
    "A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u1fff\u2c00-\u2dff"
    "\ua000-\ud7ff\ufb00-\ufdff\ufe70-\ufefe\uff10-\uffdc\U00010000-\U0001efff"
)
IDEOGRAPH = "\u3005-\u3007\u3021-\u3029\u3031-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
MARKS = re.escape("!\"#$%*./:;<=>?@[\\]`{|}\n")
TOKEN = re.compile(rf"[{LETTER}]+(?:['\u2019][{LETTER}]+)*|[{IDEOGRAPH}]|[0-9]+|[{MARKS}]")
NUMBER = "0"


def mix(h, chunk):
    h = ((h ^ chunk) * K) & MASK
    return h ^ (h >> 32)


def hash_bytes(data):
    h = SEED
    for at in range(0, len(data), 8):
        h = mix(h, int.from_bytes(data[at : at + 8], "little"))
    return mix(h, len(data))


def lexicon():
    classes, names = {}, []
    for line in LEXICON.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        name, words = line.split(":", 1)
        names.append(name)
        for word in words.split():
            classes.setdefault(word, len(names))
    return classes, names


CLASSES, NAMES = lexicon()

@lru_cache(maxsize=400_000)
def word(text):
    """The hash and the class of a token."""
    if text.isascii() and text.isdigit():
        text = NUMBER
    lower = "".join(c.lower() for c in text if c not in "'\u2019")
    return hash_bytes(lower.encode()), CLASSES.get(lower, 0)


def tokens(text):
    """The hashes of a text's tokens; one that repeats the one before it is left out."""
    last = None
    for found in TOKEN.finditer(text):
        own, _ = word(found.group())
        if own != last:
            yield own
            last = own


PAIR_TAG, CLASS_TAG, TRIPLE_TAG = 0x7061, 0x636C, 0x7472
REACH = 12
BACK = 3


def features(text):
    """For each feature its hash and the token that it ends with; and how many tokens there are."""
    hashes, owners = [], []
    count, last, before = 0, 0, []
    for found in TOKEN.finditer(text):
        own, kind = word(found.group())
        if own == last:
            continue
        hashes += (own, mix(last, own))
        owners += (count, count)
        if kind:
            hashes.append(mix(CLASS_TAG, kind))
            owners.append(count)
            near = [(k, at) for k, at in before[-BACK:] if count - at <= REACH]
            for k, at in near:
                gap = 0 if count - at <= 2 else 1 if count - at <= 5 else 2
                hashes.append(mix(PAIR_TAG, kind | k << 8 | gap << 16))
                owners.append(count)
            if len(near) >= 2:
                hashes.append(mix(TRIPLE_TAG, kind | near[-1][0] << 8 | near[-2][0] << 16))
                owners.append(count)
            before.append((kind, count))
        last = own
        count += 1
    return np.array(hashes, dtype=np.uint64), np.array(owners, dtype=np.int64), count


def buckets(hashes):
    with np.errstate(over="ignore"):
        return ((hashes * np.uint64(0xD6E8FEB86659FD93)) >> np.uint64(64 - BITS)).astype(np.int64)


SPAN, HOP = 48, 12
STEP, OVERLAP = 2048, 512


def chunks(text):
    """The windows that `guard/detect.rs` cuts a text into."""
    data = text.encode()
    if len(data) <= STEP:
        return [text]

    def border(at):
        while at < len(data) and data[at] & 0xC0 == 0x80:
            at -= 1
        return at

    spans = []
    for done in range(len(data) // STEP + 1):
        end = min(len(data), border((done + 1) * STEP))
        if done and end <= border(done * STEP):
            break
        spans.append((border(max(0, done * STEP - OVERLAP)), end))
    return [data[start:end].decode() for start, end in spans]


def windows(count):
    """Spans of tokens that are scored: of SPAN, each HOP, and the last up to the end."""
    if count <= SPAN:
        return [(0, count)]
    starts = list(range(0, count - SPAN, HOP)) + [count - SPAN]
    return [(start, start + SPAN) for start in starts]


HOST_TAG, PATH_TAG, GRAM_TAG, SHAPE_TAG = 0x686F, 0x7061_7468, 0x6772, 0x7368
HOST_BYTES, PATH_TOKENS = 64, 64


def split_link(text):
    """Host and path, as `guard/url.rs` cuts them."""
    inner = text.strip().split("://", 1)[-1]
    authority = re.split(r"[/?#\\]", inner, maxsplit=1)[0]
    path = inner[len(authority) :]
    host = authority.rsplit("@", 1)[-1]
    colon = host.rfind(":")
    if colon >= 0 and "]" not in host[colon:]:
        host = host[:colon]
    return host, path


def link_features(host, path):
    """The features of a link: words, three letters in a row of the host, and its shape."""
    out = []
    host = host.lower()
    for tag, part in ((HOST_TAG, host), (PATH_TAG, path)):
        last = 0
        for own in itertools.islice(tokens(part), PATH_TOKENS):
            out.append(mix(tag, own))
            out.append(mix(mix(tag, last), own))
            last = own
    framed = b"^" + host.encode()[:HOST_BYTES] + b"$"
    for at in range(len(framed) - 2):
        out.append(mix(GRAM_TAG, int.from_bytes(framed[at : at + 3], "little")))
    digits = sum(c in "0123456789" for c in host)
    shape = [host.count("."), host.count("-"), digits, len(host) // 8, len(path.encode()) // 16, path.count("/")]
    for kind, value in enumerate(shape):
        out.append(mix(SHAPE_TAG, kind << 8 | min(value, 7)))
    return np.array(out, dtype=np.uint64)
