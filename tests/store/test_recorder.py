"""The recorder: journals become segments, the view follows, what is not needed goes, and no step may be missed."""

import asyncio
import fcntl
import os
import shutil
import time
from pathlib import Path

import duckdb
import pytest

from gateway.config.model import Store
from gateway.store.recorder import Recorder
from gateway.tracing.journal import Journal
from tests.support.gateways import ask
from tests.support.store import exchange, header, journal, no_file_may_grow, sealed

COUNT = "SELECT count(*), count(DISTINCT span_id) FROM exchanges"
DAY = 86400.0


class Clock:
    """Unix time, moved by hand."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Exporter:
    """An export that is done with the journals it is told to be done with."""

    def __init__(self) -> None:
        self.done: set[Path] = set()
        self.forgotten: list[Path] = []

    def exported(self, path: Path) -> bool:
        """Whether all of it is out."""
        return path in self.done

    def forget(self, path: Path) -> None:
        """Note that it is gone."""
        self.forgotten.append(path)


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="data")
def _data(tmp_path) -> Path:
    return tmp_path / "data"


def _recorder(data: Path, clock: Clock, export: Exporter | None = None, **settings: float | None) -> Recorder:
    recorder = Recorder(data, Store(**{"grace_seconds": 60.0, **settings}), export, clock)
    recorder.prepare()
    return recorder


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_journal_nobody_holds_becomes_a_segment(data, clock):
    """One that is held stays live; the view shows both, each exchange once."""
    held = Journal(data / "live", "w0", {}, rotate_bytes=10**6, rotate_seconds=600.0)
    held.start(1, exchange(1)[0])
    held.end(1, exchange(1)[2])
    journal(data, [header(), *exchange(2)], "w1-5")
    recorder = _recorder(data, clock)
    assert ask(data, COUNT) == [(2, 2)]
    recorder.step()
    assert _names(data / "segments") == ["w1-5.duckdb"]
    assert ask(data, COUNT) == [(2, 2)]
    held.close()
    recorder.step()
    assert len(_names(data / "segments")) == 2
    assert ask(data, COUNT) == [(2, 2)]
    assert (recorder.sealed, recorder.failures) == (2, 0)


def test_a_journal_stays_for_who_reads_it_and_then_goes(data, clock):
    """A reader that opened the view before the sealing can go on for the grace period; after it the journal is gone."""
    path = journal(data, [header(), *exchange(1)])
    recorder = _recorder(data, clock)
    with duckdb.connect(str(data / "spans.duckdb"), read_only=True) as reader:
        recorder.step()
        clock.now += 59
        recorder.step()
        assert reader.execute(COUNT).fetchall() == [(1, 1)]
        assert path.exists()
    clock.now += 2
    recorder.step()
    assert not path.exists()
    assert ask(data, COUNT) == [(1, 1)]


def test_the_grace_period_begins_when_the_segment_is_in_the_view(data, clock):
    """While the view cannot be published, the journal that the last one lists must stay, however long."""
    path = journal(data, [header(), *exchange(1)])
    recorder = _recorder(data, clock)
    obstacle = data / "spans.duckdb.wal" / "in the way"
    obstacle.mkdir(parents=True)
    for _ in range(3):
        recorder.step()
        clock.now += 100
    assert recorder.sealed == 1
    assert path.exists()
    shutil.rmtree(obstacle.parent)
    recorder.step()
    clock.now += 59
    recorder.step()
    assert path.exists()
    clock.now += 2
    recorder.step()
    assert not path.exists()
    assert ask(data, COUNT) == [(1, 1)]


def test_what_is_not_exported_stays(data, clock):
    """The export reads journals: one that it still needs outlives its grace period, and is forgotten when it goes."""
    path = journal(data, [header(), *exchange(1)])
    export = Exporter()
    recorder = _recorder(data, clock, export)
    for _ in range(3):
        recorder.step()
        clock.now += 100
    assert path.exists()
    export.done.add(path)
    recorder.step()
    assert not path.exists()
    assert export.forgotten == [path]
    assert ask(data, COUNT) == [(1, 1)]


def test_segments_that_are_too_old_leave_the_view_and_then_the_disk(data, clock):
    """A reader has the grace period to end; the ledger goes with its rows."""
    old = sealed(data, [header(), *exchange(1)], "w0-1")
    sealed(data, [header(), *exchange(2)], "w0-2")
    os.utime(old, (clock.now - 31 * DAY, clock.now - 31 * DAY))
    recorder = _recorder(data, clock, max_age_days=30.0)
    assert ask(data, COUNT) == [(2, 2)]
    recorder.step()
    assert ask(data, "SELECT span_id FROM exchanges") == [(f"{2:016x}",)]
    assert ask(data, "SELECT sum(accepted) FROM ledger") == [(1,)]
    assert old.exists()
    clock.now += 61
    recorder.step()
    assert not old.exists()


def test_segments_that_are_too_many_leave_oldest_first(data, clock):
    """The store keeps within `max_bytes`."""
    paths = [sealed(data, [header(), *exchange(number)], f"w0-{number}") for number in range(1, 5)]
    for number, path in enumerate(paths):
        os.utime(path, (clock.now - 100 + number, clock.now - 100 + number))
    size = paths[0].stat().st_size
    recorder = _recorder(data, clock, max_bytes=2 * size)
    recorder.step()
    assert ask(data, "SELECT count(*) FROM exchanges") == [(2,)]
    clock.now += 61
    recorder.step()
    assert [path.exists() for path in paths] == [False, False, True, True]


def test_what_left_does_not_come_back(data, clock):
    """The segment of a journal that the export still needs stays on disk: without it, the journal were sealed again."""
    path = journal(data, [header(), *exchange(1)])
    export = Exporter()
    recorder = _recorder(data, clock, export, max_age_days=1.0)
    recorder.step()
    clock.now += 2 * DAY
    for _ in range(3):
        recorder.step()
        clock.now += 100
        assert ask(data, COUNT) == [(0, 0)]
    assert _names(data / "segments") == ["w0-1.duckdb"]
    export.done.add(path)
    for _ in range(2):
        recorder.step()
    assert _names(data / "live") == _names(data / "segments") == []
    assert recorder.sealed == 1


def test_a_journal_that_cannot_be_sealed_stays_readable_and_is_tried_again(data, clock, caplog):
    """The failure is logged once, not at every step, and what can be sealed is."""
    journal(data, [header(), *exchange(1)], "w0-1")
    recorder = _recorder(data, clock)
    with no_file_may_grow(beyond=100_000):
        for _ in range(5):
            recorder.step()
    assert ask(data, COUNT) == [(1, 1)]
    assert _names(data / "segments") == []
    assert sum("cannot seal" in record.message for record in caplog.records) == 1
    assert not any(record.exc_info for record in caplog.records)
    recorder.step()
    assert _names(data / "segments") == []
    clock.now += 61
    recorder.step()
    assert _names(data / "segments") == ["w0-1.duckdb"]
    assert ask(data, COUNT) == [(1, 1)]


def test_what_may_go_goes_on_a_full_disk(data, clock, caplog):
    """That nothing can be published or sealed keeps no journal whose time is over, for it is what makes room.

    It is said once, and that it is over.
    """
    gone = journal(data, [header(), *exchange(1)], "w0-1")
    recorder = _recorder(data, clock)
    recorder.step()
    journal(data, [header(), *exchange(2)], "w0-2")
    clock.now += 61
    with no_file_may_grow():
        for _ in range(3):
            recorder.step()
    assert recorder.failures >= 3
    assert sum("cannot publish" in record.message for record in caplog.records) == 1
    assert not gone.exists()
    assert ask(data, COUNT) == [(1, 1)]
    recorder.step()
    assert caplog.records[-1].message.startswith("can publish what changed in ")
    assert ask(data, COUNT) == [(2, 2)]


def test_what_a_killed_recorder_left_is_taken_away(data, clock):
    """Half a segment, its log, what it spilled, and half a view file."""
    path = journal(data, [header(), *exchange(1)])
    (data / "segments").mkdir()
    for name in ("w0-1.tmp", "w0-1.tmp.wal", "w0-1.tmp.jsonl", "w9-9.tmp"):
        (data / "segments" / name).write_bytes(b"half")
    (data / "segments" / "w0-1.tmp.spill").mkdir()
    (data / "segments" / "w0-1.tmp.spill" / "block").write_bytes(b"half")
    (data / "spans.duckdb.tmp").write_bytes(b"half")
    recorder = _recorder(data, clock)
    assert recorder.failures == 0
    assert _names(data) == ["columns", "live", "segments", "spans.duckdb"]
    assert _names(data / "segments") == []
    assert path.exists()


def test_a_journal_that_is_just_being_made_is_left_alone(data, clock):
    """A worker has it under another name until it holds the lock; only one that nobody took up for long is removed."""
    young, old = data / "live" / "w0-1.new", data / "live" / "w0-2.new"
    young.parent.mkdir(parents=True)
    for path in (young, old):
        path.touch()
    os.utime(old, (clock.now - 100, clock.now - 100))
    _recorder(data, clock)
    assert _names(data / "live") == ["w0-1.new"]


def test_an_unnamed_journal_that_is_locked_stays_whatever_its_age(data, clock):
    """Its worker was stopped between two system calls, and goes on."""
    path = data / "live" / "w0-1.new"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.utime(path, (clock.now - 61, clock.now - 61))
        _recorder(data, clock)
        assert path.exists()
    _recorder(data, clock)
    assert not path.exists()


def test_a_folder_that_was_moved_is_published_again(data, clock, tmp_path):
    """The view names files by their absolute paths, so a start in a new place makes a new one."""
    sealed(data, [header(), *exchange(1)])
    journal(data, [header(), *exchange(2)])
    _recorder(data, clock)
    elsewhere = tmp_path / "else where"
    shutil.move(data, elsewhere)
    with pytest.raises(duckdb.Error):
        ask(elsewhere, COUNT)
    _recorder(elsewhere, clock)
    assert ask(elsewhere, COUNT) == [(2, 2)]


@pytest.mark.parametrize("name", ["spans.duckdb", "segments", "live"])
def test_what_somebody_removed_is_made_again(data, clock, name):
    """The view file and the folders come back by themselves; what was in a folder is gone, and the rest is there."""
    sealed(data, [header(), *exchange(1)])
    path = journal(data, [header(), *exchange(2)], "w0-9")
    raw = path.read_bytes()
    recorder = _recorder(data, clock)
    recorder.step()
    gone = data / name
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    journal(data, raw, "w0-9")
    for _ in range(2):
        recorder.step()
    assert ask(data, "SELECT span_id FROM exchanges WHERE span_id = '0000000000000002'") == [(f"{2:016x}",)]
    assert recorder.failures == 0


async def test_a_stop_seals_what_the_workers_left(data, clock):
    """The last step comes after the stop, and does not wait for the next try of what failed before."""
    journal(data, [header(), *exchange(1)])
    recorder = await asyncio.to_thread(_recorder, data, clock)
    with no_file_may_grow(beyond=100_000):
        await asyncio.to_thread(recorder.step)
    assert _names(data / "segments") == []
    stop = asyncio.Event()
    stop.set()
    await recorder.run(stop)
    assert _names(data / "segments") == ["w0-1.duckdb"]
    assert ask(data, COUNT) == [(1, 1)]


def test_a_log_beside_the_view_file_is_taken_away(data, clock):
    """A session that wrote to the view file leaves one, and DuckDB 2 opens no file whose log is another file's."""
    journal(data, [header(), *exchange(1)])
    recorder = _recorder(data, clock)
    other = data / "other"
    with duckdb.connect(str(other)) as con:
        con.execute("PRAGMA disable_checkpoint_on_shutdown")
        con.execute("CREATE TABLE mine AS SELECT 1 AS a")
    shutil.copy(f"{other}.wal", data / "spans.duckdb.wal")
    recorder.step()
    assert not (data / "spans.duckdb.wal").exists()
    assert ask(data, COUNT) == [(1, 1)]
