"""Cursors of journals: whole lines from the cursor on, saved before the next start, and given up with their journal."""

import json
import os

import pytest

from gateway.store.otlp.cursors import Cursor, Cursors
from tests.support.exported import exchange, journal_in, line


def cursors_in(tmp_path, name="signal"):
    """Return the cursors of a signal."""
    return Cursors(tmp_path, tmp_path / "otlp" / f"{name}.json")


def kinds(cursors, path, **options):
    """Return the kinds of the lines behind a journal's cursor, None for the empty one at its end."""
    return [json.loads(data)["t"] if data else None for data, _ in cursors.lines(path, **options)]


def test_lines_follow_from_the_cursor_on(tmp_path):
    """The last line of all, once no worker can add any, is empty, and its cursor is done."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    cursors = cursors_in(tmp_path)
    (path,) = cursors.scan()
    assert kinds(cursors, path) == ["journal", "start", "span", "span"]
    *_, (_, behind) = cursors.lines(path)
    cursors.settle({path.name: behind}, {})
    assert (kinds(cursors, path), cursors.exported(path)) == ([], False)
    journal.close()
    assert kinds(cursors, path) == ["closed", None]
    *_, (_, behind) = cursors.lines(path)
    cursors.settle({path.name: behind}, {})
    assert (cursors.exported(path), cursors.scan(), cursors.waiting) == (True, [], 0)


def test_interrupted_exchanges_follow_if_they_are_wanted(tmp_path):
    """Only the export of spans needs them."""
    journal = journal_in(tmp_path)
    journal.start(1, line(1, "SERVER", "root"))
    os.close(journal._current.fd)
    journal._current.fd = -1
    cursors = cursors_in(tmp_path)
    (path,) = cursors.scan()
    assert kinds(cursors, path) == ["journal", "start", None]
    assert kinds(cursors, path, with_interrupted=True) == ["journal", "start", "span", None]


def test_cursors_are_on_disk_once_they_are_settled(tmp_path):
    """Each signal has a file of its own; one that is damaged begins anew."""
    exchange(journal_in(tmp_path), 0)
    cursors = cursors_in(tmp_path)
    (path,) = cursors.scan()
    cursors.settle({path.name: Cursor(7)}, {})
    assert cursors_in(tmp_path).of(path) == Cursor(7)
    assert cursors_in(tmp_path, "another").of(path) == Cursor()
    (tmp_path / "otlp" / "signal.json").write_bytes(b"{")
    assert cursors_in(tmp_path).of(path) == Cursor()


def test_what_must_be_on_disk_first_is_written_first(tmp_path):
    """In any case, even if no cursor has moved."""
    cursors = cursors_in(tmp_path)
    seen = []
    cursors.settle({}, {}, lambda: seen.append((tmp_path / "otlp" / "signal.json").exists()))
    cursors.settle({}, {})
    assert seen == [False]


def test_cursors_of_removed_journals_are_dropped(tmp_path):
    """When they are forgotten, and at the next scan after one was removed by someone else."""
    for worker in ("w0", "w1"):
        exchange(journal_in(tmp_path, worker), 0)
    cursors = cursors_in(tmp_path)
    first, second = cursors.scan()
    cursors.settle({first.name: Cursor(7), second.name: Cursor(8)}, {})
    cursors.forget(first)
    second.unlink()
    assert cursors.scan() == [first]
    assert (cursors.of(first), cursors.of(second)) == (Cursor(), Cursor())
    assert cursors.names == {first.name}


@pytest.mark.parametrize("number", [1, 50_000, 50_001])
def test_the_latest_identities_are_remembered(tmp_path, number):
    """Of forwarded items; the oldest are forgotten."""
    cursors = cursors_in(tmp_path)
    cursors.settle({}, dict.fromkeys(["first", *map(str, range(number - 1))]))
    assert (cursors.passed("first"), cursors.passed("another")) == (number <= 50_000, False)
