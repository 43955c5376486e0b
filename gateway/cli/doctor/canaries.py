"""Canaries: values made for one run, each of which says by itself where it was put. Pure.

All of a class have a stem in common, so that one search finds any of them, whole or cut off; what follows the stem is
the canary's number. A stem has a `/` in it, as keys that are base64 do: percent-encoding and JSON write that otherwise.
"""

import random
import string
from typing import Literal

from msgspec import Struct

Class = Literal["secret", "content", "redacted"]
"""A secret may be in no sink; content where `[capture]` says so; what `[redaction]` takes out in none that is kept."""

NUMBER = 4
"""Hexadecimal digits of a canary's number."""

_WITH_STEM: tuple[Class, ...] = ("secret", "content")
_HALF = 8
_LETTERS = string.ascii_letters + string.digits
_TAIL = 12  # the stem lies within the first half of the value


class Canary(Struct, frozen=True, kw_only=True):
    """One planted value.

    Attributes:
        kind: What it stands for: "a client's key (x-api-key)".
        path: The only path it was sent on; None where all of them have it.

    """

    kind: str
    value: str
    of: Class
    path: str | None = None

    def __repr__(self) -> str:
        """Keep the value out."""
        return f"<Canary {self.kind}, {self.path or 'all paths'}>"

    @property
    def shown(self) -> str:
        """Return what may be printed of it."""
        return f"{self.value[:3]}...{self.value[-4:]}"


class Cage:
    """Makes the canaries of one run, and knows them by their numbers. `rng`: whose numbers nobody can foresee."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.stems = {of: self.letters(_HALF) + "/" + self.letters(_HALF) for of in _WITH_STEM}
        self.run = self.letters(_HALF).lower()
        self._all: list[Canary] = []

    def __repr__(self) -> str:
        return f"<Cage {len(self._all)} canaries>"

    @property
    def all(self) -> tuple[Canary, ...]:
        """All canaries that were made."""
        return tuple(self._all)

    def secret(self, kind: str, path: str | None = None, prefix: str = "sk-") -> str:
        """Make a key, as long as real ones are, and return it."""
        return self._made(kind, "secret", path, prefix, self.letters(_TAIL))

    def content(self, kind: str, path: str) -> str:
        """Make a text that nobody else says, and return it."""
        return self._made(kind, "content", path, "said-", "")

    def redacted(self, kind: str, value: str) -> str:
        """Keep a value that `[redaction]` is to take out wherever it stands, and return it."""
        self._all.append(Canary(kind=kind, value=value, of="redacted"))
        return value

    def numbered(self, of: Class, number: str) -> Canary | None:
        """Return the canary of a class that has a number; None where that is cut off or damaged."""
        try:
            found = self._all[int(number, 16)]
        except (ValueError, IndexError):
            return None
        return found if found.of == of and len(number) == NUMBER else None

    def letters(self, count: int) -> str:
        """Return letters and digits."""
        return "".join(self._rng.choice(_LETTERS) for _ in range(count))

    def digits(self, count: int) -> str:
        """Return digits."""
        return "".join(self._rng.choice(string.digits) for _ in range(count))

    def _made(self, kind: str, of: Class, path: str | None, prefix: str, tail: str) -> str:
        value = f"{prefix}{self.stems[of]}{len(self._all):0{NUMBER}x}{tail}"
        self._all.append(Canary(kind=kind, value=value, of=of, path=path))
        return value
