"""A journal file is created whole: locked first, then with its header, then under its name."""

import errno
import os
import sys
from pathlib import Path

import pytest

from gateway.tracing.journal_file import JournalFile, locked, write
from tests.support.store import no_file_may_grow

HEADER = b'{"t":"journal"}\n'
_AUDITED = {"fcntl.flock", "os.rename"}
_calls: list[str] | None = None


def _audit(event: str, arguments: tuple) -> None:
    """Record a call while a test records; an audit hook cannot be removed again."""
    if _calls is not None and event in _AUDITED:
        name = os.fsdecode(arguments[1]) if event == "os.rename" else ""
        written = Path(os.fsdecode(arguments[0])).read_bytes() if event == "os.rename" else b""
        _calls.append(f"{event} {Path(name).name} {written == HEADER}")


sys.addaudithook(_audit)


def _calls_of(made) -> list[str]:
    global _calls  # noqa: PLW0603  the hook is for the whole process
    _calls = calls = []
    try:
        made()
    finally:
        _calls = None
    return calls


def test_a_file_is_locked_and_written_before_it_has_its_name(tmp_path):
    """The recorder seals any journal that no process holds: it must find none that is about to be locked."""
    calls = _calls_of(lambda: JournalFile(tmp_path / "w0-1.jsonl", HEADER, 1.0))
    assert calls == ["fcntl.flock  False", "os.rename w0-1.jsonl True"]


def test_a_file_holds_its_lock_until_it_is_closed(tmp_path):
    """Other processes learn by the lock whether lines may still be added."""
    file = JournalFile(tmp_path / "w0-1.jsonl", HEADER, 1.0)
    assert locked(file.path)
    assert (file.path.read_bytes(), file.size, file.started, file.open) == (HEADER, len(HEADER), 1.0, 0)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["w0-1.jsonl"]
    os.close(file.fd)
    assert not locked(file.path)


def test_a_file_that_does_not_exist_is_not_locked(tmp_path):
    """It may have been sealed and removed in the meantime."""
    assert not locked(tmp_path / "none.jsonl")


def test_a_removed_file_is_gone(tmp_path):
    """Its descriptor still works, but lines written to it would be lost."""
    file = JournalFile(tmp_path / "w0-1.jsonl", HEADER, 1.0)
    assert not file.gone
    file.path.unlink()
    assert file.gone
    os.close(file.fd)
    assert file.gone


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    """On a full disk neither a file nor a descriptor is left behind."""
    before = len(list(Path("/dev/fd").iterdir()))
    with no_file_may_grow(), pytest.raises(OSError, match=r"."):
        JournalFile(tmp_path / "w0-1.jsonl", HEADER, 1.0)
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_an_unfinished_file_of_that_name_is_not_taken_over(tmp_path):
    """Another process may be about to rename it."""
    (tmp_path / "w0-1.new").touch()
    with pytest.raises(FileExistsError):
        JournalFile(tmp_path / "w0-1.jsonl", HEADER, 1.0)
    assert (tmp_path / "w0-1.new").exists()


def test_a_short_write_is_an_error(tmp_path):
    """A line of which only a part was written is reported as a full disk."""
    path = tmp_path / "x"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    with no_file_may_grow(beyond=4), pytest.raises(OSError, match="only a part") as raised:
        write(fd, b"123456")
    os.close(fd)
    assert raised.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"1234"
