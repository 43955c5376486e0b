"""Open runs and steps on disk, beside the export cursor, so that a restart of the recorder loses no start.

A line is appended for each change; the file is rewritten once most of its lines are outdated.
"""

import logging
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from gateway.store.otlp.open_runs import OpenRuns, RunState

log = logging.getLogger("gateway.otlp")

# Outdated lines that are tolerated.
_SLACK = 4_000
# Line count after a failed write, which may have left any number.
_UNKNOWN = 1 << 60

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RunState)


class OpenRunsFile:
    """The file at `path`. Damaged lines are skipped: at worst a span has only its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = 0

    def __repr__(self) -> str:
        return f"<OpenRunsFile {self._path} lines: {self._lines}>"

    def read(self) -> dict[str, RunState]:
        """Return the states in the file, the last line of each."""
        found: dict[str, RunState] = {}
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return found
        except OSError as error:
            log.warning("%s cannot be read (%s); open runs lose their starts", self._path, error)
            return found
        for line in data.splitlines():
            self._lines += 1
            try:
                run = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            found.pop(run.key, None)
            found[run.key] = run
        return found

    def write(self, changed: Collection[RunState], runs: OpenRuns) -> None:
        """Append what changed, or rewrite the file with all of `runs`. Raises OSError; the next call rewrites it."""
        if not changed:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._lines + len(changed) > 2 * runs.known + _SLACK:
            unfinished = self._path.with_suffix(".tmp")
            unfinished.write_bytes(_lines(runs))
            unfinished.replace(self._path)
            self._lines = runs.known
            return
        lines, self._lines = self._lines, _UNKNOWN
        # A line break first: a torn line before spoils none of these.
        with self._path.open("ab") as file:
            file.write(b"\n" + _lines(changed))
        self._lines = lines + len(changed)


def _lines(run: Iterable[RunState]) -> bytes:
    return b"".join(_encoder.encode(each) + b"\n" for each in run)
