"""Journals of a data folder, and how far one signal of each is exported: cursors that survive `kill -9`.

Each signal has cursors of its own, since its collector may be another one, or may be down. Cursors are written after
the collector took a batch, so that every item is sent at least once.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, ParamSpec

import msgspec
from msgspec import Struct

from gateway.store.ledger import interrupted, read_ledger
from gateway.store.otlp.delivery import Batch
from gateway.store.otlp.open_runs import RunState
from gateway.store.otlp.request import Outgoing, weight
from gateway.tracing.journal import SUFFIX
from gateway.tracing.journal_file import locked

log = logging.getLogger("gateway.otlp")

# Ids of forwarded items that are remembered: one that a collector sends back is not forwarded again.
_PASSED_MAX = 50_000

P = ParamSpec("P")


class Cursor(Struct, frozen=True, omit_defaults=True):
    """Position in a journal: bytes read, then interrupted exchanges sent; `done` once nothing can follow."""

    offset: int = 0
    interrupted: int = 0
    done: bool = False


class Checkpoint(NamedTuple):
    """Positions after a batch: cursors that moved, runs and steps that changed, ids of items that are forwarded."""

    cursors: dict[str, Cursor]
    changed: dict[str, RunState]
    passed: dict[str, None] = {}  # noqa: RUF012  a tuple; its dict is never changed


class Budget:
    """Byte budget of one batch."""

    def __init__(self, batch: Batch[Checkpoint], max_bytes: int) -> None:
        self._batch = batch
        self._left = max_bytes

    def add(self, build: Callable[P, Outgoing], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Build an item and add it to the batch, at least one; return False if the budget is used up.

        An item that cannot be built is counted as damaged, and the next ones are sent.
        """
        batch = self._batch
        try:
            item = build(*args, **kwargs)
            self._left -= weight(item)
        except Exception:
            batch.damaged += 1
            return True
        if batch.spans and self._left < 0:
            batch.full = True
            return False
        batch.spans.append(item)
        return True


class Cursors:
    """The journals of a data folder with the cursor of each, in `file`. `exported` and `forget` are thread-safe.

    Attributes:
        waiting: Bytes of journals that wait, at the last scan.
        names: Names of the journals that exist, at the last scan.

    """

    def __init__(self, data: Path, file: Path) -> None:
        self._live = data / "live"
        self._file = file
        self._lock = threading.Lock()
        self._cursors = self._load()
        self._saved = dict(self._cursors)
        self._passed: dict[str, None] = {}
        self.waiting = 0
        self.names: set[str] = set()

    def __repr__(self) -> str:
        return f"<Cursors {self._live} waiting: {self.waiting}>"

    def exported(self, journal: Path) -> bool:
        """Return whether all of a journal is sent or given up."""
        return self.of(journal).done

    def forget(self, journal: Path) -> None:
        """Drop the cursor of a journal that was removed."""
        with self._lock:
            self._cursors.pop(journal.name, None)

    def of(self, journal: Path) -> Cursor:
        """Return the cursor of a journal."""
        with self._lock:
            return self._cursors.get(journal.name, Cursor())

    def passed(self, identity: str) -> bool:
        """Return whether an item of this identity was forwarded lately."""
        return identity in self._passed

    def scan(self) -> list[Path]:
        """Return the journals that are not done, oldest first, and update `waiting` and `names`."""
        sizes = {}
        for path in self._live.glob(f"*{SUFFIX}"):
            try:
                sizes[path] = path.stat().st_size
            except FileNotFoundError:
                continue
        self.names = {path.name for path in sizes}
        with self._lock:
            self._cursors = {name: cursor for name, cursor in self._cursors.items() if name in self.names}
            pending = {path: self._cursors.get(path.name, Cursor()) for path in sizes}
        pending = {path: cursor for path, cursor in pending.items() if not cursor.done}
        self.waiting = sum(max(0, sizes[path] - cursor.offset) for path, cursor in pending.items())
        return sorted(pending, key=_age)

    def lines(self, journal: Path, *, with_interrupted: bool = False) -> Iterator[tuple[bytes, Cursor]]:
        """Yield a journal's lines from its cursor on, each with the cursor after it.

        Once no worker writes to the journal, its interrupted exchanges follow as lines if they are wanted, and an empty
        last one.
        """
        at = self.of(journal)
        offset = at.offset
        try:
            final = not locked(journal)  # checked first: then no line can follow those that are read
            with journal.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not (final or line.endswith(b"\n")):
                        return
                    offset += len(line)
                    yield line, Cursor(offset)
            if not final:
                return
            starts = read_ledger(journal)[1] if with_interrupted else []
        except FileNotFoundError:
            return
        for index in range(at.interrupted, len(starts)):
            yield msgspec.json.encode(interrupted(starts[index])), Cursor(offset, index + 1)
        yield b"", Cursor(offset, len(starts), done=True)

    def settle(
        self, cursors: Mapping[str, Cursor], passed: Mapping[str, None], write_first: Callable[[], None] | None = None
    ) -> None:
        """Move the cursors, and write them if any has moved; `write_first` is written before, in any case."""
        self._passed.update(passed)
        while len(self._passed) > _PASSED_MAX:
            del self._passed[next(iter(self._passed))]
        with self._lock:
            self._cursors.update(cursors)
            after = dict(self._cursors)
        if after == self._saved and write_first is None:
            return
        unfinished = self._file.with_suffix(".tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if write_first is not None:
                write_first()
            unfinished.write_bytes(msgspec.json.encode(after))
            unfinished.replace(self._file)
        except OSError as error:  # at worst a restart sends some items again
            log.warning("cannot write in %s: %s", self._file.parent, error)
        else:
            self._saved = after

    def _load(self) -> dict[str, Cursor]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, Cursor])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read (%s); all journals are sent again", self._file, error)
            return {}


def _age(journal: Path) -> tuple[int, str]:
    """Return a sort key: the time in the name, which ends in Unix nanoseconds."""
    _, _, started = journal.stem.rpartition("-")
    return (int(started) if started.isdecimal() else 0, journal.name)
