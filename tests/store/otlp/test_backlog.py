"""The backlog: journals in order, interrupted exchanges, damaged lines, cursors that survive a restart."""

import json
import os
import shutil

import pytest

from gateway.config.model import Capture
from gateway.store.otlp import Exporter
from gateway.store.otlp.backlog import Backlog
from gateway.store.otlp.http import HttpSender
from tests.support.exported import START, exchange, journal_in, line, names_of, until
from tests.support.otlp_receiver import Answer, attributes_of
from tests.support.run_events import lines_of, step
from tests.support.store import exchange as exchange_lines
from tests.support.store import header, journal


def test_an_interrupted_exchange_is_sent_as_an_error(tmp_path, receiver, export):
    """A start that never ended becomes a failed span once its worker is gone, and not before."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.start(1, line(1, "SERVER", "root 1", duration_ns=None))
    exporter = export()
    until(lambda: len(receiver.names) == 2)
    (path,) = (tmp_path / "live").glob("*.jsonl")
    assert not exporter.exported(path)
    journal.close()
    until(lambda: exporter.exported(path))
    assert receiver.names == [*names_of([0]), "root 1"]
    span = receiver.batches[-1][-1]
    assert span.status.code == 2
    assert span.end_time_unix_nano == span.start_time_unix_nano == START + 1
    assert attributes_of(span)["gateway.outcome"] == "interrupted"


def test_interrupted_exchanges_are_found_behind_the_cursor(tmp_path, receiver, export):
    """Where the start was passed before a restart of the exporter, its missing end is noticed, and sent once."""
    journal = journal_in(tmp_path)
    for number in (5, 6, 7):
        journal.start(number, line(number, "SERVER", f"root {number}"))
    exchange(journal, 0)
    first = export()
    until(lambda: len(receiver.names) == 2)
    first.stop()
    journal.close()
    second = export(BSP_MAX_EXPORT_BATCH_SIZE="2")
    (path,) = (tmp_path / "live").glob("*.jsonl")
    until(lambda: second.exported(path))
    assert receiver.names == [*names_of([0]), "root 5", "root 6", "root 7"]


def test_half_a_line_waits_while_its_writer_lives(tmp_path, receiver, export):
    """Only whole lines are sent; what a killed worker left of its last one is counted."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    (path,) = (tmp_path / "live").glob("*.jsonl")
    torn = json.dumps({"t": "span", **line(1, "CLIENT", "chat 1")}, separators=(",", ":")).encode()
    with path.open("ab") as file:
        file.write(torn[:-20])
        file.flush()
        exporter = export()
        until(lambda: len(receiver.names) == 2)
        file.write(torn[-20:] + b"\n" + torn[:-20])
    until(lambda: len(receiver.names) == 3)
    assert exporter.counters()["dropped"] == {}
    os.close(journal._current.fd)
    journal._current.fd = -1
    until(lambda: exporter.exported(path))
    assert receiver.names == [*names_of([0]), "chat 1"]
    assert exporter.counters()["dropped"] == {"damaged": 1}


@pytest.mark.parametrize(
    "bad", [b"\x00\xff garbage", b'{"t":"span","kind":"CLIENT"}', b'{"t":"span","kind":7,"x":', b"[]"]
)
def test_a_damaged_line_is_passed_by(tmp_path, receiver, export, bad):
    """Whatever stands in a line, the ones behind it are sent."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    (path,) = (tmp_path / "live").glob("*.jsonl")
    with path.open("ab") as file:
        file.write(bad + b"\n")
    exchange(journal, 1)
    journal.close()
    exporter = export()
    until(lambda: exporter.exported(path))
    assert receiver.names == names_of([0, 1])
    assert exporter.counters()["dropped"] == {"damaged": 1}


def test_a_cursor_that_cannot_be_read_sends_all_again(tmp_path, receiver, export):
    """A damaged cursor costs duplicates, never spans."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    (path,) = (tmp_path / "live").glob("*.jsonl")
    first = export()
    until(lambda: first.exported(path))
    first.stop()
    (tmp_path / "otlp" / "cursor.json").write_bytes(b"{")
    second = export()
    until(lambda: second.exported(path))
    assert receiver.names == names_of([0, 0])


def test_a_journal_that_is_gone_is_forgotten(tmp_path, export):
    """The cursor keeps no word of journals that the recorder removed."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    (path,) = (tmp_path / "live").glob("*.jsonl")
    exporter = export()
    until(lambda: exporter.exported(path))
    assert path.name in (tmp_path / "otlp" / "cursor.json").read_text()
    path.unlink()
    exporter.forget(path)
    until(lambda: path.name not in (tmp_path / "otlp" / "cursor.json").read_text())
    assert not exporter.exported(path)


def test_a_backlog_too_large_loses_its_oldest_spans(tmp_path, receiver, monkeypatch):
    """Past the bound the oldest journal is given up and its spans are counted; newer ones still arrive."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.port}")
    for number in range(3):
        journal = journal_in(tmp_path, f"w{number}", START + number)
        exchange(journal, number)
        if number == 0:
            journal.start(9, line(9, "SERVER", "root 9"))
        journal.close()
    oldest, *newer = sorted((tmp_path / "live").glob("*.jsonl"))
    receiver.script = lambda _: Answer(503)
    exporter = Exporter(
        tmp_path, HttpSender(), Capture(), delay=0.05, max_backlog_bytes=sum(path.stat().st_size for path in newer)
    )
    exporter.start()
    until(lambda: exporter.counters()["dropped"])
    assert exporter.exported(oldest)
    assert exporter.counters()["dropped"] == {"otlp_backlog": 3}
    receiver.script = lambda _: Answer()
    until(lambda: all(exporter.exported(path) for path in newer))
    assert receiver.names == names_of([1, 2])
    exporter.stop()


def test_a_checkpoint_has_its_runs_on_disk_before_its_cursors(tmp_path):
    """Without the order, a kill between the two writes would lose the start of every open run for good."""
    journal(tmp_path, [header(), *lines_of([step("start", "s1", 1, type="t")])])
    (tmp_path / "otlp" / "open.jsonl" / "in the way").mkdir(parents=True)
    backlog = Backlog(tmp_path)
    batch = backlog.batch(10, 10**6, Capture(), START)
    assert batch.position.cursors
    assert batch.position.changed
    backlog.settle(batch.position)
    assert not (tmp_path / "otlp" / "cursor.json").exists()


def test_cursors_that_cannot_be_written_are_written_the_next_time(tmp_path, caplog):
    """The failure is logged; the export goes on, and at worst sends some spans again after a restart."""
    journal(tmp_path, [header(), *exchange_lines(1)])
    cursors = tmp_path / "otlp" / "cursor.json"
    cursors.mkdir(parents=True)
    (cursors / "in the way").touch()
    backlog = Backlog(tmp_path)
    batch = backlog.batch(10, 10**6, Capture(), START)
    backlog.settle(batch.position)
    assert "cannot write in" in caplog.text
    shutil.rmtree(cursors)
    backlog.settle(backlog.batch(10, 10**6, Capture(), START).position)
    assert json.loads(cursors.read_text())["w0-1.jsonl"]["done"] is True


LOST = {
    "a span": ({"t": "span", "kind": "CLIENT", "span_id": "1" * 16}, 1),
    "a span of an application": ({"t": "received", "kind": "CLIENT", "span_id": "1" * 16}, 1),
    "a start": ({"t": "start", "kind": "SERVER", "span_id": "1" * 16}, 1),  # it is interrupted
    "an event": ({"t": "event", "type": "run:start"}, 0),
    "a drop": ({"t": "dropped", "kind": "SERVER", "span_id": "1" * 16, "reason": "disk_full"}, 0),
}


@pytest.mark.parametrize(("row", "lost"), LOST.values(), ids=LOST)
def test_what_is_skipped_is_counted_by_the_span(tmp_path, row, lost):
    """Spans of the gateway and of applications; other lines are no spans."""
    journal(tmp_path, [header(), row])
    backlog = Backlog(tmp_path)
    backlog.scan()
    assert backlog.drop_oldest(0, Capture()) == lost
    assert backlog.scan() == []


def test_a_backlog_within_its_limit_is_not_skipped(tmp_path):
    """Not a byte of it."""
    path = journal(tmp_path, [header(), *exchange_lines(1)])
    backlog = Backlog(tmp_path)
    backlog.scan()
    assert backlog.drop_oldest(path.stat().st_size, Capture()) == 0
    assert backlog.scan() == [path]
    assert backlog.drop_oldest(path.stat().st_size - 1, Capture()) == 2
