"""Shared memory: a reader sees whole snapshots in their order, whichever process is killed at any time."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.server.live_config.shared_memory import Slots, SnapshotCell

# Each value repeats one number, as often as a generator seeded with it decides: torn and mixed values are detected.
_VALUES = """
import os, random, signal, struct, sys, time
from gateway.server.live_config.shared_memory import SnapshotCell

def value(number):
    return struct.pack("=Q", number) * random.Random(number).choice((0, 1, 7, 500, 20_000, 120_000))

def read(cell, last):
    generation, found = cell.read()
    assert generation >= last, (generation, last)
    assert found == (value(generation) if generation else b""), generation
    return generation

cell = SnapshotCell(1_000_000)
"""
_READERS = """
readers = []
for _ in range(2):
    pid = os.fork()
    if not pid:
        code, generation = 1, 0
        try:
            for _ in range(100):  # different generations, however slow the machine is
                last = generation
                while generation == last:
                    generation = read(cell, last)
            code = 0
        finally:
            os._exit(code)
    readers.append(pid)
number = 0
while readers:
    number += 1
    assert cell.publish(value(number)) == number
    ended, status = os.waitpid(-1, os.WNOHANG)
    if ended:
        readers.remove(ended)
        print(os.waitstatus_to_exitcode(status))
"""
_KILLED = """
for round in range(20):
    pid = os.fork()
    if not pid:
        while True:
            cell.publish(value(cell.generation + 1))
    before = cell.generation
    while cell.generation < before + 3:
        time.sleep(0.001)
    time.sleep(random.random() * 0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    generation = read(cell, before)
    assert read(cell, generation) == generation >= before + 3
print(cell.generation)
"""


def ran(script: str) -> list[list[int]]:
    """Run a program of its own, which may fork, and return the numbers that it prints."""
    done = subprocess.run([sys.executable, "-c", _VALUES + script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(f"[{line.replace(' ', ',')}]") for line in done.stdout.splitlines()]


def test_forked_readers_never_see_a_torn_or_an_older_value():
    """Two processes read a hundred generations each, while a third one publishes without a pause."""
    assert ran(_READERS) == [[0], [0]]


def test_a_writer_that_is_killed_leaves_a_whole_value():
    """The value before an unfinished one stays current, and the next writer continues after it."""
    ((generation,),) = ran(_KILLED)
    assert generation >= 60


@given(st.lists(st.binary(max_size=64), max_size=12))
def test_the_last_published_value_is_read(values):
    """Values of any size follow each other, each with the next generation."""
    cell = SnapshotCell(64)
    assert (cell.generation, cell.read()) == (0, (0, b""))
    for generation, value in enumerate(values, 1):
        assert cell.publish(value) == generation == cell.generation
        assert cell.read() == (generation, value)


class _Late(SnapshotCell):
    """A reader that is interrupted after the generation, while two more values are published."""

    interrupted = False

    @property
    def generation(self) -> int:
        generation = super().generation
        if generation == 1 and not self.interrupted:
            self.interrupted = True
            self.publish(b"second")
            self.publish(b"third")
        return generation


def test_a_late_reader_gets_the_newest_value_with_its_own_generation():
    """The third value, which overwrote the first, is not read under the first one's generation."""
    cell = _Late(10)
    cell.interrupted = True
    cell.publish(b"first")
    cell.interrupted = False
    assert cell.read() == (3, b"third")


def test_a_value_that_is_too_large_is_refused():
    """The error has both sizes, and the value before stays current."""
    cell = SnapshotCell(10)
    cell.publish(b"0123456789")
    with pytest.raises(GatewayError, match="it has 11 bytes, and there is room for 10"):
        cell.publish(b"0123456789a")
    assert cell.read() == (1, b"0123456789")
    assert repr(cell) == "<SnapshotCell generation: 1>"


def test_each_child_has_a_slot():
    """A slot begins at 0, and is changed by its own child only."""
    slots = Slots(3)
    slots.note(1, 7)
    slots.note(2, 2**63)
    assert slots.all() == [0, 7, 2**63]
    assert Slots(0).all() == []
