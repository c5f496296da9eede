"""What the Python suites share: one line for each check, and a count at the end."""

import os
import sys
import traceback

CARD = "4111 1111 1111 1111"
"""A test card in a prompt: valid by its check digit, issued to nobody."""

LEAKED_CARD = "4242 4242 4242 4242"
"""The test card that the demo model and the demo MCP server give away when asked."""

DIRECT = os.environ.get("RINGWALL_DIRECT") == "1"
"""Straight to the demo upstreams: nothing masks, nothing refuses. Proves that the checks can fail."""


def setting(name: str, default: str | None = None) -> str:
    """A setting from the environment; the suite ends at once without it."""
    value = os.environ.get(name, default)
    if value is None:
        sys.exit(f"{name} is not set")
    return value


class Suite:
    """Runs checks one after another; a check fails by raising."""

    def __init__(self, name: str):
        self.name, self.passed, self.failed = name, 0, 0

    def ok(self, what: str) -> None:
        self.passed += 1
        print(f"  ok    {self.name}: {what}", flush=True)

    def bad(self, what: str) -> None:
        self.failed += 1
        print(f"  FAIL  {self.name}: {what}", flush=True)
        traceback.print_exc(file=sys.stdout)

    def finish(self) -> None:
        print(f"{self.name}: {self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)


def expect(condition: object, what: str) -> None:
    """An assertion that no interpreter flag removes."""
    if not condition:
        raise AssertionError(what)


def expect_masked(text: str, card: str) -> None:
    """The card is gone through the gateway, and there when we ask the upstream directly."""
    digits = card.replace(" ", "")
    seen = card in text or digits in text
    if DIRECT:
        expect(seen, f"the demo itself masks nothing, yet the card is missing in {text!r}")
    else:
        expect(not seen, f"the card came through unmasked: {text!r}")
