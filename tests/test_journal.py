"""The journal: one line per finished span, all lines of an exchange in one file, nothing half written."""

import json
import resource
from pathlib import Path

import pytest

from gateway.journal import Journal, locked


@pytest.fixture(name="clock")
def _clock():
    """Return a clock in nanoseconds that moves one second a call."""
    now = [1_700_000_000_000_000_000]

    def tick() -> int:
        now[0] += 1_000_000_000
        return now[0]

    return tick


def _journal(folder: Path, clock, **options) -> Journal:
    settings = {"rotate_bytes": 1_000_000, "rotate_seconds": 600.0} | options
    return Journal(folder, "w0", {"service.name": "gateway"}, clock=clock, **settings)


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def _span(kind: str, span_id: str, **rest) -> dict:
    return {"kind": kind, "span_id": span_id, **rest}


def test_an_exchange_leaves_a_start_its_attempts_and_its_end(tmp_path, clock):
    """The lines of an exchange stand in order, after the file's own first line and before its last."""
    journal = _journal(tmp_path, clock)
    journal.start(1, _span("SERVER", "01"))
    journal.attempt(1, _span("CLIENT", "02"))
    journal.end(1, _span("SERVER", "01"))
    journal.close()
    (path,) = tmp_path.glob("*.jsonl")
    assert [line["t"] for line in _lines(path)] == ["journal", "start", "span", "span", "closed"]
    assert (journal.accepted, journal.stored, journal.in_flight, journal.dropped) == (1, 1, 0, {})


def test_a_line_can_be_read_as_soon_as_it_is_written(tmp_path, clock):
    """Nothing waits in a buffer of ours: another reader of the file sees the line at once."""
    journal = _journal(tmp_path, clock)
    journal.start(7, _span("SERVER", "07"))
    (path,) = tmp_path.glob("*.jsonl")
    assert _lines(path)[-1]["span_id"] == "07"
    journal.close()


def test_a_full_file_takes_no_new_exchange_but_keeps_its_own(tmp_path, clock):
    """After a rotation the old file still gets the lines of exchanges that began in it, then its last line."""
    journal = _journal(tmp_path, clock, rotate_bytes=400)
    journal.start(1, _span("SERVER", "01", pad="x" * 400))
    journal.start(2, _span("SERVER", "02"))
    old, new = sorted(tmp_path.glob("*.jsonl"))
    assert locked(old)
    assert locked(new)
    journal.end(1, _span("SERVER", "01"))
    assert [line["t"] for line in _lines(old)] == ["journal", "start", "span", "closed"]
    assert not locked(old)
    journal.end(2, _span("SERVER", "02"))
    journal.close()
    assert [line["t"] for line in _lines(new)] == ["journal", "start", "span", "closed"]


def test_an_exchange_in_flight_at_the_end_leaves_no_closed_line(tmp_path, clock):
    """A file whose exchanges did not all end is not marked as closed."""
    journal = _journal(tmp_path, clock)
    journal.start(1, _span("SERVER", "01"))
    journal.close()
    (path,) = tmp_path.glob("*.jsonl")
    assert [line["t"] for line in _lines(path)] == ["journal", "start"]
    assert not locked(path)


def test_a_full_disk_drops_whole_lines_counts_them_and_says_so_later(tmp_path, clock):
    """Half a line is cut off, the exchange is counted as dropped, and named in the file once there is room again."""
    journal = _journal(tmp_path, clock)
    journal.start(1, _span("SERVER", "01"))
    (path,) = tmp_path.glob("*.jsonl")
    whole = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole + 20, hard))
    try:
        journal.end(1, _span("SERVER", "01", pad="x" * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.stat().st_size == whole
    assert sum(journal.dropped.values()) == 1
    assert journal.stored == 0
    journal.start(2, _span("SERVER", "02"))
    journal.end(2, _span("SERVER", "02"))
    journal.close()
    lines = _lines(path)
    assert [line["t"] for line in lines] == ["journal", "start", "dropped", "start", "span", "closed"]
    assert lines[2]["span_id"] == "01"


def test_a_removed_file_is_noticed_and_a_new_one_begun(tmp_path, clock):
    """Whoever deletes the live folder under a running worker loses what was in it, and nothing after."""
    journal = _journal(tmp_path / "live", clock)
    (path,) = (tmp_path / "live").glob("*.jsonl")
    path.unlink()
    (tmp_path / "live").rmdir()
    journal.tick()
    journal.start(1, _span("SERVER", "01"))
    journal.end(1, _span("SERVER", "01"))
    (path,) = (tmp_path / "live").glob("*.jsonl")
    assert [line["t"] for line in _lines(path)] == ["journal", "start", "span"]
    journal.close()


def test_age_rotates_only_a_file_that_has_something(tmp_path, clock):
    """An idle worker does not make a new file every ten minutes."""
    journal = _journal(tmp_path, clock, rotate_seconds=0.5)
    journal.tick()
    assert len(list(tmp_path.glob("*.jsonl"))) == 1
    journal.start(1, _span("SERVER", "01"))
    journal.end(1, _span("SERVER", "01"))
    journal.tick()
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    journal.close()


def test_a_line_that_cannot_be_encoded_is_counted(tmp_path, clock):
    """What is no JSON is dropped by reason, and the journal goes on."""
    journal = _journal(tmp_path, clock)
    journal.start(1, _span("SERVER", "01"))
    journal.end(1, _span("SERVER", "01", bad=object()))
    assert journal.dropped == {"encoding": 1}
    journal.close()


def test_a_file_appears_only_once_it_is_locked(tmp_path, clock):
    """No reader can take a journal that has just been made for one that nobody holds."""
    journal = _journal(tmp_path, clock)
    assert all(locked(path) for path in tmp_path.iterdir())
    assert next(tmp_path.iterdir()).stat().st_mode & 0o077 == 0
    journal.close()
