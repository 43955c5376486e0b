"""What is open of runs and steps, on disk: beside the cursor, so that a restart of the recorder loses no start.

A line is appended for each that changes, and the file is written anew when most of its lines say nothing any more.
"""

import logging
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from gateway.store.otlp.folding import Folding, Told

log = logging.getLogger("gateway.otlp")

# So many lines more than there is to say are left in the file.
_SLACK = 4_000
# What may be in it after a write that failed.
_UNKNOWN = 1 << 60

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Told)


class Memory:
    """The file at `path`. What is damaged in it is passed over: at worst a span has its end only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = 0

    def __repr__(self) -> str:
        return f"<Memory {self._path} lines: {self._lines}>"

    def read(self) -> dict[str, Told]:
        """Return what was written, the last word on each."""
        found: dict[str, Told] = {}
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return found
        except OSError as error:
            log.warning("%s cannot be read (%s); runs that are open begin where they end", self._path, error)
            return found
        for line in data.splitlines():
            self._lines += 1
            try:
                told = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            found.pop(told.key, None)
            found[told.key] = told
        return found

    def write(self, changed: Collection[Told], all_known: Folding) -> None:
        """Write what changed, or all where that is shorter in the long run. Raises OSError: the next time all is."""
        if not changed:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._lines + len(changed) > 2 * all_known.known + _SLACK:
            unfinished = self._path.with_suffix(".tmp")
            unfinished.write_bytes(_lines(all_known))
            unfinished.replace(self._path)
            self._lines = all_known.known
            return
        lines, self._lines = self._lines, _UNKNOWN
        # A line break first: what was torn off before spoils no line of these.
        with self._path.open("ab") as file:
            file.write(b"\n" + _lines(changed))
        self._lines = lines + len(changed)


def _lines(told: Iterable[Told]) -> bytes:
    return b"".join(_encoder.encode(each) + b"\n" for each in told)
