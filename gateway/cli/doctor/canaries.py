"""Canaries: random values made for one run, each of which identifies the place it was put in. Pure.

All canaries of a class share a stem, so that one search finds any of them, whole or cut off; the digits after the stem
are the canary's number. A stem contains a `/`, as base64 keys do, because percent-encoding and JSON may escape it.
"""

import random
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from gateway.config.model import Redacted
from gateway.errors import ConfigError
from gateway.redaction import Redaction

Class = Literal["secret", "content", "redacted"]
"""No sink may have a secret; content is allowed by `[capture]`; what `[redaction]` matches is in no sink."""

NUMBER = 4
"""Hexadecimal digits of a canary's number."""

_WITH_STEM: tuple[Class, ...] = ("secret", "content")
_HALF = 8
_LETTERS = string.ascii_letters + string.digits
_TAIL = 12  # the stem lies within the first half of the value


class Canary(Struct, frozen=True, kw_only=True):
    """One planted value. `kind`: its role, as in "a client's key (x-api-key)"; `request`: the only request with it."""

    kind: str
    value: str
    of: Class
    request: str | None = None

    def __repr__(self) -> str:
        return f"<Canary {self.kind}, {self.request or 'all requests'}>"

    @property
    def shown(self) -> str:
        """Return the beginning and the end, which may be printed."""
        return f"{self.value[:3]}...{self.value[-4:]}"


class Canaries:
    """The canaries of one run, found again by number. `rng` should be unpredictable."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.stems = {of: self.letters(_HALF) + "/" + self.letters(_HALF) for of in _WITH_STEM}
        self.run = self.letters(_HALF).lower()
        self._all: list[Canary] = []

    def __repr__(self) -> str:
        return f"<Canaries {len(self._all)}>"

    @property
    def all(self) -> tuple[Canary, ...]:
        """All canaries so far."""
        return tuple(self._all)

    def secret(self, kind: str, request: str | None = None, prefix: str = "sk-") -> str:
        """Make a key of realistic length."""
        return self._add(kind, "secret", request, prefix, self.letters(_TAIL))

    def content(self, kind: str, request: str) -> str:
        """Make a text that occurs nowhere else."""
        return self._add(kind, "content", request, "said-", "")

    def redacted(self, kind: str, value: str) -> str:
        """Register a value that `[redaction]` removes everywhere."""
        self._all.append(Canary(kind=kind, value=value, of="redacted"))
        return value

    def numbered(self, of: Class, number: str) -> Canary | None:
        """Return a class's canary by its digits; None if those are cut off or damaged."""
        try:
            found = self._all[int(number, 16)]
        except (ValueError, IndexError):
            return None
        return found if found.of == of and len(number) == NUMBER else None

    def letters(self, count: int) -> str:
        """Return random letters and digits."""
        return "".join(self._rng.choice(_LETTERS) for _ in range(count))

    def digits(self, count: int) -> str:
        """Return random digits."""
        return "".join(self._rng.choice(string.digits) for _ in range(count))

    def _add(self, kind: str, of: Class, request: str | None, prefix: str, tail: str) -> str:
        value = f"{prefix}{self.stems[of]}{len(self._all):0{NUMBER}x}{tail}"
        self._all.append(Canary(kind=kind, value=value, of=of, request=request))
        return value


class Planted(Struct, frozen=True, kw_only=True):
    """A text for every prompt, answer and error that `[redaction]` must clean. `untested`: patterns without example."""

    text: str = ""
    untested: tuple[str, ...] = ()


def plant(canaries: Canaries, redaction: Redacted, examples: Sequence[str]) -> Planted:
    """Make a value of each built-in kind. Raises ConfigError, without repeating it, for an example without a match."""
    values = []
    for kind in redaction.builtin:
        value = _VALUES[kind](canaries)
        if Redaction([kind]).text(value) == value:
            raise ConfigError(f"$.redaction.builtin: {kind} does not match doctor's example of it")
        values.append(canaries.redacted(f"a value of [redaction], {kind}", value))
    found = set()
    for number, example in enumerate(examples, 1):
        names = [
            name for name, each in redaction.patterns.items() if Redaction((), {name: each}).text(example) != example
        ]
        if not names:
            raise ConfigError(f"--example number {number} is matched by none of $.redaction.patterns")
        found.update(names)
        values.append(canaries.redacted(f"an example of $.redaction.patterns, {', '.join(names)}", example))
    return Planted(text=" ; ".join(values), untested=tuple(name for name in redaction.patterns if name not in found))


def _card(canaries: Canaries) -> str:
    """Return a card number with a valid check digit (ISO/IEC 7812)."""
    digits = "4" + canaries.digits(14)
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(digits))
    return digits + str(-total % 10)


_VALUES: Mapping[str, Callable[[Canaries], str]] = {
    "keys": lambda canaries: f"sk-proj-{canaries.letters(24)}{canaries.digits(6)}",
    "emails": lambda canaries: f"{canaries.letters(10)}@{canaries.letters(6)}.example.com",
    "cards": _card,
    "phones": lambda canaries: f"+1 415 {canaries.digits(3)} {canaries.digits(4)}",
}
