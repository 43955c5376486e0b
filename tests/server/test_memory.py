"""The memory of a worker: settings of the allocator, and the heap trimmed after large use."""

import multiprocessing
import platform

import pytest

from gateway.server import memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")

MIB = 1024 * 1024


def _burst() -> tuple[bool, int, int]:
    """Return whether the allocator could be set, and MiB that stay after two bursts: large blocks, and small ones."""
    tuned, before = memory.tune(), memory.resident()
    for _ in range(2):  # the first one would raise glibc's own threshold
        held = [bytearray(b"x" * MIB) for _ in range(64)]
        end = bytearray(100 * 1024)  # what is above a heap's free memory keeps it
        del held
    large = memory.resident() - before
    pieces = [bytearray(b"x" * 100_000) for _ in range(640)]
    keep = bytearray(100 * 1024)
    del pieces
    memory.trim()
    small = memory.resident() - before
    del end, keep
    return tuned, large // MIB, small // MIB


@glibc
def test_memory_is_returned():
    """Large blocks are returned when they are freed, and small ones by a trim."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        tuned, large, small = pool.apply(_burst)
    assert tuned
    assert large < 10
    assert small < 20


@glibc
async def test_a_trim_is_due_after_growth_at_rest():
    """A worker is trimmed once after a growth, not while requests are in flight, and not without one."""
    trimmer = memory.Trimmer()
    await trimmer.tick(0)
    assert trimmer.trims == 0
    held = bytearray(b"x" * (40 * MIB))
    await trimmer.tick(1)
    assert trimmer.trims == 0
    await trimmer.tick(0)
    await trimmer.tick(0)
    assert repr(trimmer) == "<Trimmer trims: 1>"
    del held


def test_another_system_is_left_as_it_is(monkeypatch):
    """Without glibc or /proc nothing is set, trimmed or measured, and nothing fails."""

    class NoLibrary:
        """A C library without these functions."""

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _name: NoLibrary())
    monkeypatch.setattr(memory, "_STATM", memory.Path("/nonexistent/statm"))
    assert (memory.tune(), memory.trim(), memory.resident()) == (False, False, 0)
