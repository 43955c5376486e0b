"""Conservation: exchanges accepted = stored + in flight or interrupted + dropped, before sealing and after."""

from collections import Counter
from itertools import count
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.store.ledger import Ledger
from gateway.store.segments import seal, store_files
from gateway.tracing.journal import Journal
from tests.support.examples import examples
from tests.support.store import START_NS, exchange, header, journal, no_file_may_grow, over, sealed

COUNTS = ("accepted", "stored", "in_flight", "interrupted", "dropped", "attempts", "events", "events_dropped")


class History:
    """A worker's journal through good times and bad, and what must be said of it in the end."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._ticks = count(START_NS, 1_000_000_000)
        self._numbers = count(1)
        self.open: list[int] = []
        self.full = False
        self.ever_full = False
        self.stored = 0
        self.accepted = 0
        self.dropped: Counter[str] = Counter()
        self.told = self.refused = 0
        self._begin()

    def _begin(self) -> None:
        self.journal = Journal(
            self.data / "live", "w0", {}, rotate_bytes=1500, rotate_seconds=0.5, clock=lambda: next(self._ticks)
        )

    def do(self, what: str) -> None:
        """Do one thing, on a full disk or not."""
        if what in {"full", "free"}:
            self.full = what == "full"
            self.ever_full = self.ever_full or self.full
        elif self.full:
            with no_file_may_grow():
                self._do(what)
        else:
            self._do(what)

    def _do(self, what: str) -> None:
        match what:
            case "start":
                number = next(self._numbers)
                self.open.append(number)
                self.journal.start(number, exchange(number)[0])
            case "attempt" if self.open:
                self.journal.attempt(self.open[0], exchange(self.open[0])[1])
            case "end" if self.open:
                number = self.open.pop(0)
                self.journal.end(number, exchange(number)[2])
            case "unencodable" if self.open:
                number = self.open.pop()
                self.journal.end(number, exchange(number)[2] | {"attributes": object()})
            case "tell":
                number = next(self._numbers)
                told = [{"event_id": f"{number}-{each}", "type": "x", "time_ns": number} for each in range(3)]
                if self.journal.append_events(told) is None:
                    self.told += 3
                else:
                    self.refused += 3
            case "tick":
                self.journal.tick()
            case "crash":
                self.leave()
                self._begin()

    def leave(self) -> None:
        """End as a killed process does: nothing more is written."""
        with no_file_may_grow():
            self.journal.close()
        self.stored += self.journal.stored
        self.accepted += self.journal.accepted
        self.dropped += Counter(self.journal.dropped)
        self.open.clear()

    def finish(self) -> None:
        """End all exchanges, on a disk that has room again, and stop in order."""
        self.do("free")
        self.do("tick")
        while self.open:
            self.do("end")
        self.journal.close()
        self.stored += self.journal.stored
        self.accepted += self.journal.accepted
        self.dropped += Counter(self.journal.dropped)


def _sums(data: Path) -> dict[str, int]:
    columns, rows = over("FROM ledger", *store_files(data))
    ledgers = [dict(zip(columns, row, strict=True)) for row in rows]
    return {name: sum(ledger[name] for ledger in ledgers) for name in COUNTS}


def _seal_all(data: Path) -> list[Ledger]:
    (data / "segments").mkdir(exist_ok=True)
    return [seal(path, data / "segments" / f"{path.stem}.duckdb") for path in store_files(data)[1]]


_events = st.lists(
    st.sampled_from(
        ["start", "start", "attempt", "end", "end", "unencodable", "tell", "tick", "crash", "full", "free"]
    ),
    max_size=20,
)


@pytest.mark.integration
@examples(12, deadline=None)
@example(events=["start", "tick", "full", "end", "free", "start"], orderly=True)
@example(events=["tell", "full", "tell", "start", "tell", "free", "tell", "tick"], orderly=True)
@example(events=["full", "crash", "start", "attempt", "free", "tick", "end", "start"], orderly=False)
@given(events=_events, orderly=st.booleans())
def test_every_accepted_exchange_is_accounted_for(tmp_path_factory, events, orderly):
    """Whatever happened, in whatever order: the sums hold, and are the same live and sealed."""
    history = History(tmp_path_factory.mktemp("data"))
    for event in events:
        history.do(event)
    history.finish() if orderly else history.leave()
    live = _sums(history.data)
    assert live["accepted"] == live["stored"] + live["in_flight"] + live["dropped"]
    assert live["interrupted"] == 0
    ledgers = _seal_all(history.data)
    sums = _sums(history.data)
    assert sums == live | {"in_flight": 0, "interrupted": live["in_flight"]}
    assert sum(each.damaged_lines for each in ledgers) == 0
    assert sums["stored"] == history.stored
    assert sums["events"] == history.told
    assert sums["events_dropped"] <= history.refused
    assert over("SELECT count(*) FROM events", *store_files(history.data))[1] == [(history.told,)]
    assert sums["accepted"] <= history.accepted
    if not history.ever_full and "unencodable" not in events:
        assert sums["accepted"] == history.accepted
    if orderly and "crash" not in events:
        assert sums["accepted"] == history.accepted
        assert sums["events_dropped"] == history.refused
        # One whose file was closed before its loss could be said there is interrupted.
        assert sums["dropped"] + sums["interrupted"] == history.dropped.total()
    _, rows = over("SELECT count(*), count(DISTINCT span_id) FROM exchanges", *store_files(history.data))
    assert rows == [(sums["stored"] + sums["interrupted"],) * 2]


def test_drops_are_counted_by_reason_the_same_live_and_sealed(tmp_path):
    """The reasons of a journal are one JSON object."""
    dropped = [
        {"t": "dropped", "kind": "SERVER", "span_id": f"{10 + number:016x}", "reason": reason}
        for number, reason in enumerate(["disk_full", "disk_full", "encoding"])
    ]
    lines = [header("w3"), *exchange(1), *dropped, {"t": "dropped", "kind": "CLIENT", "span_id": "c", "reason": "x"}]
    columns, [live] = over("FROM ledger", journals=[journal(tmp_path, lines)])
    _, [at_rest] = over("FROM ledger", [sealed(tmp_path, lines, "w0-1")])
    found = dict(zip(columns, live, strict=True))
    assert found | {"damaged_lines": 0} == dict(zip(columns, at_rest, strict=True))
    assert found["dropped_by_reason"] == '{"disk_full":2,"encoding":1}'
    assert tuple(found[name] for name in ("journal", "worker", *COUNTS)) == ("w0-1", "w3", 4, 1, 0, 0, 3, 1, 0, 0)


@pytest.mark.parametrize("ended", [True, False])
def test_an_exchange_in_flight_is_interrupted_once_nobody_can_end_it(tmp_path, ended):
    """While a journal is live, what has no end is in flight; in a segment it is interrupted."""
    path = journal(tmp_path, [header(), *exchange(1, ended=ended)])
    assert _sums(tmp_path)["in_flight"] == (not ended)
    _seal_all(tmp_path)
    path.unlink()
    sums = _sums(tmp_path)
    assert (sums["in_flight"], sums["interrupted"], sums["accepted"]) == (0, not ended, 1)
