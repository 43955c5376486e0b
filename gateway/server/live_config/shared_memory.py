"""Memory that a parent and the children it forks have in common: what it publishes, and how far each has come with it.

One anonymous mapping, inherited by fork and never on disk. The parent alone writes values, each child its own slot.
A value is written to the half that nobody reads, then one word of eight bytes says that it counts; so a reader sees a
whole value, the old one or the new one, whenever either is killed.
"""

import mmap
import struct
import zlib

from gateway.errors import GatewayError
from gateway.store.metrics.instruments import WorkerGauges

MIB = 1024 * 1024

_WORD = 8
# Before a value: its generation, length and checksum, by which a reader knows that the half is not being written to.
_HEAD = struct.Struct("=QQQ")


class SnapshotCell:
    """A value that is published again and again; `generation` counts from 1, 0 is none yet."""

    def __init__(self, size: int) -> None:
        """Take memory for a value of up to `size` bytes. None of it is used before it is written to."""
        self._size = size
        self._half = _HEAD.size + size
        self._memory = mmap.mmap(-1, _WORD + 2 * self._half)
        # An aligned word is stored and loaded at once.
        self._word = memoryview(self._memory)[:_WORD].cast("Q")

    def __repr__(self) -> str:
        return f"<SnapshotCell generation: {self.generation}>"

    @property
    def generation(self) -> int:
        """Which value counts now."""
        return self._word[0]

    def publish(self, value: bytes) -> int:
        """Put a value in the place of the last one, and return its generation. Raises GatewayError: it is too large."""
        if len(value) > self._size:
            raise GatewayError(
                f"it has {len(value)} bytes, and there is room for {self._size} ({self._size // MIB} MiB)"
            )
        generation = self.generation + 1
        at = self._at(generation)
        _HEAD.pack_into(self._memory, at, generation, len(value), _sum(value, generation))
        self._memory[at + _HEAD.size : at + _HEAD.size + len(value)] = value
        self._word[0] = generation
        return generation

    def read(self) -> tuple[int, bytes]:
        """Return the value that counts, with its generation; generation 0 has none."""
        while True:
            generation = self.generation
            if not generation:
                return 0, b""
            at = self._at(generation)
            marked, length, checksum = _HEAD.unpack_from(self._memory, at)
            if marked == generation and length <= self._size:
                value = self._memory[at + _HEAD.size : at + _HEAD.size + length]
                if _sum(value, generation) == checksum:
                    return generation, value
            # It has been replaced twice meanwhile: the next look finds the newer one.

    def _at(self, generation: int) -> int:
        return _WORD + (generation & 1) * self._half


def _sum(value: bytes, generation: int) -> int:
    """Return the checksum of a value: a head that is half one generation's and half another's fits no value."""
    return zlib.crc32(value, generation & 0xFFFF_FFFF)


class Slots:
    """A number for each child, which only that child writes: the generation it goes by."""

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, max(1, count) * _WORD)
        self._words = memoryview(self._memory).cast("Q")
        self._count = count

    def __repr__(self) -> str:
        return f"<Slots {self.all()}>"

    def note(self, slot: int, generation: int) -> None:
        """Say how far a child has come."""
        self._words[slot] = generation

    def all(self) -> list[int]:
        """Return what each child has noted; 0 is nothing yet."""
        return list(self._words[: self._count])


_FIELDS = WorkerGauges.__struct_fields__


class Gauges:
    """A few numbers of each worker, which it writes about once a second, a word at a time; there is no lock.

    What one that was killed had written stands there until the next one in its place writes.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._memory = mmap.mmap(-1, max(1, workers) * len(_FIELDS) * _WORD)
        self._words = memoryview(self._memory).cast("Q")

    def __repr__(self) -> str:
        return f"<Gauges {self.all()}>"

    def note(self, worker: int, numbers: WorkerGauges) -> None:
        """Write a worker's numbers."""
        for index, field in enumerate(_FIELDS):
            self._words[worker * len(_FIELDS) + index] = getattr(numbers, field)

    def all(self) -> list[WorkerGauges]:
        """Return what the workers say."""
        count = len(_FIELDS)
        return [WorkerGauges(*self._words[worker * count : (worker + 1) * count]) for worker in range(self._workers)]
