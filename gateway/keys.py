"""The keys of one exchange, so that no text of ours repeats them: those it came with, and those sent for it."""

from collections.abc import Mapping

from gateway import attributes as seen

# A key that is shorter cannot be told from a word.
_SHORTEST = 6


class Keys:
    """Looked for only when a text is scrubbed."""

    def __init__(self, headers: Mapping[str, str], target: str) -> None:
        self._headers = headers
        self._target = target
        self._all: tuple[str, ...] | None = None
        self._ours: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "<Keys>"

    @property
    def ours(self) -> tuple[str, ...]:
        """Those that are sent for the client."""
        return self._ours

    @ours.setter
    def ours(self, keys: tuple[str, ...]) -> None:
        if keys != self._ours:
            self._ours, self._all = keys, None

    @property
    def all(self) -> tuple[str, ...]:
        """All keys, the longest first."""
        if self._all is None:
            found = {*self._ours, *seen.secrets_in(self._headers, self._target)}
            self._all = tuple(sorted((each for each in found if len(each) >= _SHORTEST), key=len, reverse=True))
        return self._all

    def scrub(self, text: str) -> str:
        """Take the keys out of a text."""
        for secret in self.all:
            text = text.replace(secret, seen.REDACTED)
        return seen.readable(text)
