"""Order of the writes to disk: content before a name, a name before anything that relies on it.

A folder in the place of a file makes its write fail, as a crash between two writes would leave it undone.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from gateway.config.model import Store
from gateway.store.compaction import COLUMNS_MARK, merge, modernize
from gateway.store.recorder import Recorder
from gateway.store.segments import StoreError, publish, replace_by, seal, store_files
from tests.support.gateways import ask
from tests.support.store import exchange, header, journal, sealed

LINES = [header(), *exchange(1)]
Writes = list[tuple[str, ...]]


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Writes]:
    """Record what is synced and what is renamed, by names, in order; both still happen."""
    writes: Writes = []
    fsync, replace = os.fsync, os.replace

    def synced(fd: int) -> None:
        fsync(fd)
        writes.append(("fsync", Path(f"/proc/self/fd/{fd}").readlink().name))

    def replaced(source: Path, target: Path) -> None:
        replace(source, target)
        writes.append(("rename", Path(source).name, Path(target).name))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", synced)
        patched.setattr(os, "replace", replaced)
        yield writes


def older(segment: Path) -> Path:
    """Take a column of this version away from a segment."""
    with duckdb.connect(str(segment)) as con:
        con.execute("ALTER TABLE events_raw DROP COLUMN service_name")
    return segment


def _seal(data: Path) -> Path:
    path = journal(data, LINES, "w0-1")
    segment = data / "segments" / "w0-1.duckdb"
    seal(path, segment)
    return segment


def _publish(data: Path) -> Path:
    publish(data, *store_files(data))
    return data / "spans.duckdb"


def _merge(data: Path) -> Path:
    sources = [sealed(data, [header(), *exchange(number)], f"w0-{number}") for number in (1, 2)]
    merged = data / "segments" / "merged-1.duckdb"
    merge(sources, merged)
    return merged


def _modernize(data: Path) -> Path:
    segment = older(sealed(data, LINES, "w0-1"))
    assert modernize(segment)
    return segment


def _replace_by(data: Path) -> Path:
    unfinished, final = data / "new.tmp", data / "new"
    unfinished.write_bytes(b"content")
    replace_by(unfinished, final)
    return final


WRITERS = [_seal, _publish, _merge, _modernize, _replace_by]


@pytest.mark.parametrize("write", WRITERS, ids=lambda each: each.__name__.strip("_"))
def test_a_file_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch, write: Callable[[Path], Path]):
    """Synced, renamed, and the folder synced: after a power cut the name is missing, or has all of the content."""
    (tmp_path / "segments").mkdir()
    with recorded(monkeypatch) as writes:
        final = write(tmp_path)
    renames = [index for index, each in enumerate(writes) if each[0] == "rename" and each[2] == final.name]
    assert renames
    for index in renames:
        assert writes[index - 1] == ("fsync", writes[index][1])
        assert writes[index + 1] == ("fsync", final.parent.name)


def test_the_list_of_sources_is_on_disk_before_the_merged_segment(tmp_path, monkeypatch):
    """Its content and its entry in the folder: a merged segment without its list doubles every row for good."""
    with recorded(monkeypatch) as writes:
        _merge(tmp_path)
    merged = writes.index(("rename", "merged-1.tmp", "merged-1.duckdb"))
    listed = writes.index(("fsync", "merged-1.sources"))
    assert writes.index(("fsync", "segments"), listed) < merged


def test_a_merge_whose_list_cannot_be_written_leaves_no_segment(tmp_path):
    """The list comes first, so that no row is there twice at any moment."""
    (tmp_path / "segments" / "merged-1.sources").mkdir(parents=True)
    with pytest.raises(OSError, match="sources"):
        _merge(tmp_path)
    assert sorted(path.name for path in (tmp_path / "segments").iterdir()) == [
        "merged-1.sources", "w0-1.duckdb", "w0-2.duckdb",
    ]  # fmt: skip


@pytest.mark.parametrize("write", [_merge, _seal], ids=["merge", "seal"])
def test_what_cannot_be_renamed_leaves_nothing_unfinished(tmp_path, write: Callable[[Path], Path]):
    """A folder in the place of the segment: the error is raised, and no file of half a segment stays."""
    for name in ("merged-1.duckdb", "w0-1.duckdb"):
        if write is _seal or name.startswith("merged"):
            (tmp_path / "segments" / name).mkdir(parents=True)
    with pytest.raises((OSError, StoreError)):
        write(tmp_path)
    assert not list((tmp_path / "segments").glob("*.tmp*"))


def test_a_log_that_cannot_be_removed_leaves_the_published_view(tmp_path):
    """The log of another session goes before the new view comes: a reader would replay it into the wrong file."""
    sealed(tmp_path, LINES)
    published = _publish(tmp_path)
    before = published.read_bytes()
    published.with_name("spans.duckdb.wal").mkdir()
    with pytest.raises(OSError, match="wal"):
        _publish(tmp_path)
    assert published.read_bytes() == before


def test_a_merged_segment_is_as_old_as_its_newest_source(tmp_path):
    """Retention by age, and the day that it is merged within, are those of its rows."""
    sources = [sealed(tmp_path, [header(), *exchange(number)], f"w0-{number}") for number in (1, 2)]
    for source, seconds in zip(sources, (1_600_000_000, 1_600_000_500), strict=True):
        os.utime(source, (seconds, seconds))
    merged = tmp_path / "segments" / "merged-1.duckdb"
    merge(sources, merged)
    assert merged.stat().st_mtime == 1_600_000_500


def test_a_rewritten_segment_is_as_old_as_it_was(tmp_path):
    """New columns make no new rows."""
    segment = older(sealed(tmp_path, LINES, "w0-1"))
    os.utime(segment, (1_600_000_000, 1_600_000_000))
    assert modernize(segment)
    assert segment.stat().st_mtime == 1_600_000_000


class Export:
    """An export of everything, which notes the journals it forgets."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    def exported(self, _journal: Path) -> bool:
        """Return that all is sent."""
        return True

    def forget(self, path: Path) -> None:
        """Note the journal."""
        self.forgotten.append(path.name)


def _recorder(data: Path, export: Export | None = None) -> Recorder:
    recorder = Recorder(data, Store(grace_seconds=0.0), export)
    recorder.prepare()
    return recorder


def test_a_source_that_cannot_be_removed_keeps_the_list_of_sources(tmp_path):
    """The list goes last: without it, the source that is left would be in the view a second time."""
    merged = _merge(tmp_path)
    sources = merged.with_suffix(".sources")
    source = tmp_path / "segments" / "w0-2.duckdb"
    source.unlink()
    (source / "in the way").mkdir(parents=True)
    recorder = _recorder(tmp_path)
    recorder.step()
    assert recorder.failures > 0
    assert sources.exists()
    assert store_files(tmp_path)[0] == [merged]
    assert ask(tmp_path, "SELECT count(*) FROM exchanges") == [(2,)]


def test_a_journal_that_cannot_be_removed_keeps_its_cursor(tmp_path):
    """The export forgets a journal that is gone, not one that would be read and sent again from its start."""
    sealed(tmp_path, LINES, "w0-1")
    (tmp_path / "live" / "w0-1.jsonl" / "in the way").mkdir(parents=True)
    export = Export()
    recorder = _recorder(tmp_path, export)
    recorder.step()
    assert recorder.failures > 0
    assert export.forgotten == []


def test_the_mark_of_the_columns_is_written_after_the_segments(tmp_path):
    """A segment that cannot be rewritten is tried again at the next start."""
    segment = older(sealed(tmp_path, LINES, "w0-1"))
    (tmp_path / "segments" / "w0-2.duckdb").mkdir()
    recorder = _recorder(tmp_path)
    assert recorder.failures > 0
    assert not (tmp_path / "columns").exists()
    (tmp_path / "segments" / "w0-2.duckdb").rmdir()
    recorder = _recorder(tmp_path)
    assert recorder.failures == 0
    assert (tmp_path / "columns").read_text() == COLUMNS_MARK
    assert not modernize(segment)
