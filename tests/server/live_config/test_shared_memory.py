"""Memory in common: a reader sees whole values in their order, whoever is killed whenever."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.server.live_config.shared_memory import Slots, SnapshotCell

# Each value is one number over and over, as often as a generator seeded by it says: what is torn or mixed shows.
_VALUES = """
import os, random, signal, struct, sys, time
from gateway.server.live_config.shared_memory import SnapshotCell

def value(number):
    return struct.pack("=Q", number) * random.Random(number).choice((0, 1, 7, 500, 20_000, 120_000))

def watched(cell, seconds):
    last, seen = 0, 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        generation, found = cell.read()
        assert generation >= last, (generation, last)
        assert found == (value(generation) if generation else b""), generation
        seen += generation != last
        last = generation
    return seen

cell = SnapshotCell(1_000_000)
"""
_READERS = """
readers = []
for _ in range(2):
    come, go = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(go, str(watched(cell, 1.0)).encode())
        os._exit(0)
    os.close(go)  # one that fails has nothing to say, and is not waited for
    readers.append((pid, come))
until, number = time.monotonic() + 1.2, 0
while time.monotonic() < until:
    number += 1
    assert cell.publish(value(number)) == number
for pid, come in readers:
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), os.read(come, 100).decode() or -1)
"""
_KILLED = """
for round in range(20):
    pid = os.fork()
    if not pid:
        while True:
            cell.publish(value(cell.generation + 1))
    time.sleep(0.01 + random.random() * 0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    watched(cell, 0.001)
print(cell.generation)
"""


def ran(script: str) -> list[list[int]]:
    """Run a program of its own, which may fork, and return the numbers that it prints."""
    done = subprocess.run([sys.executable, "-c", _VALUES + script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(f"[{line.replace(' ', ',')}]") for line in done.stdout.splitlines()]


def test_forked_readers_never_see_a_torn_or_an_older_value():
    """Two processes read as fast as they can what a third one publishes as fast as it can."""
    found = ran(_READERS)
    assert len(found) == 2
    assert all(code == 0 and seen > 20 for code, seen in found), found


def test_a_writer_that_is_killed_leaves_a_whole_value():
    """Whatever it was writing at that moment, the value before counts, and the next writer goes on."""
    ((generation,),) = ran(_KILLED)
    assert generation > 20


@given(st.lists(st.binary(max_size=64), max_size=12))
def test_what_was_published_last_is_read(values):
    """Whatever its size, and that of those before."""
    cell = SnapshotCell(64)
    assert (cell.generation, cell.read()) == (0, (0, b""))
    for generation, value in enumerate(values, 1):
        assert cell.publish(value) == generation == cell.generation
        assert cell.read() == (generation, value)


class _Late(SnapshotCell):
    """A reader that looks, and is asleep while two values are published."""

    slept = False

    @property
    def generation(self) -> int:
        seen = super().generation
        if seen == 1 and not self.slept:
            self.slept = True
            self.publish(b"second")
            self.publish(b"third")
        return seen


def test_a_late_reader_gets_the_newest_value_with_its_own_generation():
    """And not the third under the number of the first, whose place it has taken."""
    cell = _Late(10)
    cell.slept = True
    cell.publish(b"first")
    cell.slept = False
    assert cell.read() == (3, b"third")


def test_what_is_too_large_is_refused_and_the_value_before_stays():
    """With a word on how much there is room for."""
    cell = SnapshotCell(10)
    cell.publish(b"0123456789")
    with pytest.raises(GatewayError, match="it has 11 bytes, and there is room for 10"):
        cell.publish(b"0123456789a")
    assert cell.read() == (1, b"0123456789")
    assert repr(cell) == "<SnapshotCell generation: 1>"


def test_each_child_has_a_slot():
    """It begins at 0, and none touches another's."""
    slots = Slots(3)
    slots.note(1, 7)
    slots.note(2, 2**63)
    assert slots.all() == [0, 7, 2**63]
    assert Slots(0).all() == []
