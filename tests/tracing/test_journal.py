"""The journal: one line per finished span, all lines of an exchange in one file, nothing half written."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.tracing.journal import LINE_BYTES, Journal
from gateway.tracing.journal_file import locked
from tests.support.store import no_file_may_grow


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
    with no_file_may_grow(beyond=whole + 20):
        journal.end(1, _span("SERVER", "01", pad="x" * 100))
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


def test_an_idle_journal_is_rotated_once(tmp_path, clock):
    """After its last exchange a worker begins one more file, and no other however long it is idle."""
    journal = _journal(tmp_path, clock, rotate_seconds=0.5)
    journal.start(1, _span("SERVER", "01"))
    journal.end(1, _span("SERVER", "01"))
    for _ in range(10):
        journal.tick()
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    journal.close()


def test_an_end_without_a_start_is_not_counted_as_stored(tmp_path, clock):
    """Its start was never accepted, so that accepted = stored + in flight + dropped holds."""
    journal = _journal(tmp_path, clock)
    journal.end(1, _span("SERVER", "01"))
    assert (journal.accepted, journal.stored, journal.in_flight, journal.dropped) == (0, 0, 0, {})
    journal.close()


def test_spans_of_applications_are_appended_as_they_are(tmp_path, clock):
    """A batch of encoded lines is one write, counted apart from exchanges and from events of runs."""
    journal = _journal(tmp_path, clock)
    assert (
        journal.append_received(
            journal.received, [b'{"t":"received","span_id":"01"}', b'{"t":"received","span_id":"02"}']
        )
        is None
    )
    assert journal.append_received(journal.received, [b"x" * LINE_BYTES]) == "too_long"
    journal.close()
    (path,) = tmp_path.glob("*.jsonl")
    assert [line["t"] for line in _lines(path)] == ["journal", "received", "received", "received_dropped", "closed"]
    assert (journal.received.stored, journal.received.dropped) == (2, {"too_long": 1})
    assert (journal.events.stored, journal.accepted) == (0, 0)


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


def test_a_full_disk_leaves_no_half_made_file(tmp_path, clock):
    """Where no new file can be begun, the old one goes on; nothing is left behind, and no descriptor is lost."""
    journal = _journal(tmp_path, clock, rotate_bytes=10)
    open_before = len(list(Path("/dev/fd").iterdir()))
    with no_file_may_grow():
        for number in range(50):
            journal.start(number, _span("SERVER", f"{number:02}"))
            journal.tick()
    assert len(list(tmp_path.iterdir())) == 1
    assert len(list(Path("/dev/fd").iterdir())) == open_before
    journal.start(99, _span("SERVER", "99"))
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert list(tmp_path.glob("*.new")) == []
    journal.close()


def test_a_worker_starts_on_a_full_disk(tmp_path, clock):
    """Without a file all is dropped and counted; once one can be made, it says so, and takes what comes."""
    with no_file_may_grow():
        journal = _journal(tmp_path, clock)
        journal.start(1, _span("SERVER", "01"))
        journal.attempt(1, _span("CLIENT", "02"))
        journal.end(1, _span("SERVER", "01"))
        journal.start(2, _span("SERVER", "03"))
    assert journal.dropped == {"disk_full": 1}
    assert (journal.accepted, journal.stored, journal.in_flight) == (2, 0, 1)
    journal.tick()
    journal.end(2, _span("SERVER", "03"))
    journal.close()
    (path,) = tmp_path.iterdir()
    assert [(line["t"], line.get("span_id")) for line in _lines(path)] == [
        ("journal", None),
        ("dropped", "02"),
        ("dropped", "01"),
        ("span", "03"),
        ("closed", None),
    ]
    assert (journal.stored, journal.in_flight) == (1, 0)


def test_a_loss_is_said_in_the_file_that_has_the_start_or_nowhere(tmp_path, clock):
    """Said in another file, an exchange would be there twice: interrupted in its own, dropped in the other."""
    journal = _journal(tmp_path, clock)
    journal.start(1, _span("SERVER", "01"))
    journal.start(2, _span("SERVER", "02"))
    journal.rotate()
    with no_file_may_grow():
        journal.end(1, _span("SERVER", "01"))
    journal.start(3, _span("SERVER", "03"))
    journal.end(3, _span("SERVER", "03"))
    old, new = sorted(tmp_path.iterdir())
    assert [line["t"] for line in _lines(new)] == ["journal", "start", "span"]
    journal.end(2, _span("SERVER", "02"))
    assert [line["t"] for line in _lines(old)] == ["journal", "start", "start", "dropped", "span", "closed"]
    journal.close()


def test_a_line_too_long_to_be_read_is_dropped(tmp_path, clock):
    """Readers size their buffers by the longest line; one beyond that would keep them from all others."""
    journal = _journal(tmp_path, clock)
    journal.start(1, _span("SERVER", "01"))
    journal.attempt(1, _span("CLIENT", "02", input_messages="x" * LINE_BYTES))
    journal.end(1, _span("SERVER", "01"))
    journal.close()
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < 10_000
    assert [(line["t"], line.get("reason")) for line in _lines(path)[2:4]] == [("dropped", "too_long"), ("span", None)]


def test_half_a_line_that_cannot_be_cut_off_spoils_no_other(tmp_path, clock):
    """The next line begins on a line of its own."""
    journal = _journal(tmp_path, clock)
    journal.start(1, _span("SERVER", "01"))
    (path,) = tmp_path.iterdir()
    made = shutil.which("chattr") and subprocess.run(["chattr", "+a", path], capture_output=True, check=False)
    if not made or made.returncode:
        pytest.skip("this file system, or this user, can make no file append-only")
    try:
        with no_file_may_grow(beyond=path.stat().st_size + 20):
            journal.attempt(1, _span("CLIENT", "02", name="x" * 100))
        journal.end(1, _span("SERVER", "01"))
        journal.close()
    finally:
        subprocess.run(["chattr", "-a", path], check=True)
    lines = path.read_bytes().splitlines()
    assert lines[2] == b'{"t":"span","kind":"'
    assert [json.loads(line)["t"] for line in (*lines[:2], *lines[3:])] == [
        "journal",
        "start",
        "dropped",
        "span",
        "closed",
    ]


def test_what_is_in_flight_in_a_removed_file_ends_in_the_next(tmp_path, clock):
    """Whoever removes the folder loses what was in it, not what is still to come."""
    journal = _journal(tmp_path / "live", clock)
    journal.start(1, _span("SERVER", "01"))
    journal.rotate()
    journal.start(2, _span("SERVER", "02"))
    shutil.rmtree(tmp_path / "live")
    journal.tick()
    for number in (1, 2):
        journal.attempt(number, _span("CLIENT", f"1{number}"))
        journal.end(number, _span("SERVER", f"0{number}"))
    (path,) = (tmp_path / "live").iterdir()
    assert [line.get("span_id") for line in _lines(path)] == [None, "11", "01", "12", "02"]
    assert (journal.stored, journal.in_flight, journal.dropped) == (2, 0, {})
    journal.close()


def test_events_are_written_at_once_or_not_at_all(tmp_path, clock):
    """A batch that does not fit leaves nothing behind, is counted, and said in the file once there is room again."""
    journal = _journal(tmp_path, clock)
    batch = [{"event_id": str(number), "type": "x", "time_ns": 1} for number in range(3)]
    assert journal.append_events(batch) is None
    (path,) = tmp_path.glob("*.jsonl")
    whole = path.stat().st_size
    with no_file_may_grow(beyond=whole + 120):
        assert journal.append_events(batch) == "disk_full"
        assert journal.append_events(batch[:1]) is None
        assert journal.append_events(batch) == "disk_full"
    assert journal.append_events([{"event_id": "x", "bad": object()}]) == "encoding"
    assert journal.append_events([*batch, {"event_id": "x" * LINE_BYTES}]) == "too_long"
    assert (journal.events.stored, journal.events.dropped) == (4, {"disk_full": 6, "encoding": 1, "too_long": 4})
    assert journal.append_events([]) is None
    journal.close()
    lines = _lines(path)
    assert [line["t"] for line in lines[:4]] == ["journal", *["event"] * 3]
    assert [(line["t"], line.get("reason"), line.get("count")) for line in lines[4:]] == [
        ("events_dropped", "disk_full", 3),
        ("event", None, None),
        ("events_dropped", "disk_full", 3),
        ("events_dropped", "encoding", 1),
        ("events_dropped", "too_long", 4),
        ("closed", None, None),
    ]


def test_events_alone_rotate_a_file(tmp_path, clock):
    """A gateway that is told of runs and of nothing else has its journals sealed as well: by age, and by size."""
    journal = _journal(tmp_path, clock, rotate_seconds=0.5, rotate_bytes=300)
    assert journal.append_events([{"event_id": "1", "type": "x"}]) is None
    journal.tick()
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert journal.append_events([{"event_id": "2" * 300, "type": "x"}]) is None
    assert journal.append_events([{"event_id": "3", "type": "x"}]) is None
    assert len(list(tmp_path.glob("*.jsonl"))) == 3
    assert journal.in_flight == 0
    journal.close()


def test_a_worker_without_a_file_refuses_events(tmp_path, clock):
    """They are not promised to anybody; once there is a file, it says how many were refused."""
    with no_file_may_grow():
        journal = _journal(tmp_path, clock)
        assert journal.append_events([{"event_id": "1", "type": "x"}]) == "disk_full"
    journal.tick()
    assert journal.append_events([{"event_id": "1", "type": "x"}]) is None
    journal.close()
    (path,) = tmp_path.glob("*.jsonl")
    assert [line["t"] for line in _lines(path)] == ["journal", "events_dropped", "event", "closed"]
