"""Journals are followed line by line while they are written, rotated, sealed, removed, damaged and left behind."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.store.metrics.folding import Fold
from gateway.store.metrics.journal_reader import JournalReader
from gateway.store.segments import seal
from tests.support.metrics_pages import line, page_of, total


class Written:
    """A journal that somebody holds and writes to."""

    def __init__(self, data: Path, name: str = "w0-1") -> None:
        (data / "live").mkdir(parents=True, exist_ok=True)
        (data / "segments").mkdir(exist_ok=True)
        self.path = data / "live" / f"{name}.jsonl"
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self.write(b'{"t":"journal","worker":"w0"}\n')

    def write(self, *lines: bytes) -> None:
        os.write(self._fd, b"".join(lines))

    def left(self) -> None:
        """Die, or be closed."""
        os.close(self._fd)


def held_files() -> list[str]:
    """Return the files that this process has open."""
    return [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]


def exchange(number: int) -> tuple[bytes, bytes]:
    """Return the lines of an exchange."""
    return line("start", span_id=f"{number:016x}"), line("exchange", span_id=f"{number:016x}")


@pytest.fixture(name="fold")
def _fold() -> Fold:
    return Fold()


@pytest.fixture(name="follow")
def _follow(tmp_path: Path, fold: Fold) -> Iterator[Callable[[], JournalReader]]:
    """Begin to follow; the files are let go of in the end."""
    begun: list[JournalReader] = []

    def follow() -> JournalReader:
        begun.append(JournalReader(tmp_path, fold))
        return begun[-1]

    yield follow
    for following in begun:
        following.close()


def ended(fold: Fold, **labels: str) -> float:
    """Return how many exchanges have ended."""
    return total(page_of(fold), "gateway_exchange_ended_total", **labels)


def test_each_line_is_counted_once(tmp_path, fold, follow):
    """However often one looks, and whatever was appended meanwhile."""
    following = follow()
    journal, other = Written(tmp_path), Written(tmp_path, "w1-1")
    for number in range(5):
        journal.write(*exchange(number))
        other.write(*exchange(100 + number))
        assert following.read(1000_000) is False
        following.read(1000_000)
        assert ended(fold) == 2 * (number + 1)
    assert following.unread == 0
    journal.left()
    other.left()


def test_half_a_line_waits_for_its_end(tmp_path, fold, follow):
    """It is not damaged, it is not there yet."""
    following, journal = follow(), Written(tmp_path)
    start, end = exchange(1)
    journal.write(start, end[:20])
    following.read(1000_000)
    assert (ended(fold), fold.in_flight) == (0, 1)
    assert following.unread == 20
    journal.write(end[20:])
    following.read(1000_000)
    assert (ended(fold), fold.in_flight) == (1, 0)
    assert total(page_of(fold), "gateway_journal_damaged_total") == 0
    journal.left()


def test_a_torn_last_line_of_a_dead_worker_is_damage(tmp_path, fold, follow):
    """No end of it will come; what it had in flight was interrupted."""
    following, journal = follow(), Written(tmp_path)
    journal.write(*exchange(1), exchange(2)[0], exchange(2)[1][:20])
    journal.left()
    following.read(1000_000)
    assert ended(fold, gateway_outcome="ok") == 1
    assert ended(fold, gateway_outcome="interrupted") == 1
    assert total(page_of(fold), "gateway_journal_damaged_total") == 1
    following.read(1000_000)
    assert ended(fold) == 2


def test_a_journal_that_is_sealed_and_removed_is_read_to_its_end(tmp_path, fold, follow):
    """It was held open: nothing is lost where one looks too late."""
    following, journal = follow(), Written(tmp_path)
    journal.write(*exchange(1))
    following.read(1000_000)
    journal.write(*exchange(2), exchange(3)[0])
    journal.left()
    seal(journal.path, tmp_path / "segments" / "w0-1.duckdb")
    journal.path.unlink()
    following.read(1000_000)
    assert ended(fold, gateway_outcome="ok") == 2
    assert ended(fold, gateway_outcome="interrupted") == 1
    assert fold.in_flight == 0


def test_of_a_journal_that_somebody_took_away_the_exchanges_go_on(tmp_path, fold, follow):
    """Their worker ends them in its next one: they are not interrupted, nor counted twice."""
    following, journal = follow(), Written(tmp_path)
    journal.write(exchange(1)[0])
    following.read(1000_000)
    journal.path.unlink()
    journal.left()
    following.read(1000_000)
    assert (ended(fold), fold.in_flight) == (0, 1)
    other = Written(tmp_path, "w0-2")
    other.write(exchange(1)[1])
    following.read(1000_000)
    assert (ended(fold, gateway_outcome="ok"), fold.in_flight) == (1, 0)
    assert total(page_of(fold), "gateway_exchange_started_total") == 1
    other.left()


def test_what_was_there_before_is_not_counted(tmp_path, fold, follow):
    """But what is in flight is known, and its end is counted; what nobody will end any more was interrupted."""
    journal, dead, sealed = Written(tmp_path), Written(tmp_path, "w1-1"), Written(tmp_path, "w2-1")
    journal.write(*exchange(1), exchange(2)[0], exchange(3)[0])
    dead.write(exchange(4)[0])
    dead.left()
    sealed.write(exchange(5)[0])
    sealed.left()
    seal(sealed.path, tmp_path / "segments" / "w2-1.duckdb")
    following = follow()
    journal.write(exchange(3)[1])
    following.read(1000_000)
    assert ended(fold, gateway_outcome="ok") == 1
    assert ended(fold, gateway_outcome="interrupted") == 1
    assert total(page_of(fold), "gateway_exchange_started_total") == 0
    assert fold.in_flight == 1
    journal.left()


def test_a_look_is_bounded(tmp_path, fold, follow):
    """Much at once is read in parts, and none of it twice."""
    following, journal = follow(), Written(tmp_path)
    for number in range(100):
        journal.write(*exchange(number))
    looks = 1
    while following.read(2000):
        looks += 1
        assert ended(fold) < 100
    assert ended(fold) == 100
    assert looks > 10
    journal.left()


def test_files_are_let_go_of(tmp_path, follow):
    """One that is read to its end, at once; all others at the close."""
    following, journal, other = follow(), Written(tmp_path), Written(tmp_path, "w1-1")
    journal.left()
    following.read(1000_000)
    held = held_files()
    assert held.count(str(journal.path)) == 0
    assert held.count(str(other.path)) == 2  # the writer's own too
    following.close()
    held = held_files()
    assert held.count(str(other.path)) == 1
    other.left()
