"""Shared memory of a parent and its forked children: snapshots that the parent publishes, and a slot for each child.

Each object is one anonymous mapping, inherited by fork and never on disk. Only the parent writes snapshots, and each
child only its own slot. A snapshot is written to the half that is not being read, and then made current by storing one
word of eight bytes. A reader therefore sees a whole snapshot, the old one or the new one, whenever either is killed.
"""

import mmap
import struct
import zlib

from gateway.errors import GatewayError
from gateway.store.metrics.instruments import WorkerGauges

MIB = 1024 * 1024

_WORD = 8
# Precedes a value: generation, length and checksum, by which a reader detects a torn write.
_HEADER = struct.Struct("=QQQ")


class SnapshotCell:
    """A value that one writer replaces and many readers copy. `generation` counts its values; 0 before the first."""

    def __init__(self, size: int) -> None:
        """Map memory for values of up to `size` bytes; the kernel allocates pages when they are first written to."""
        self._size = size
        self._half = _HEADER.size + size
        self._memory = mmap.mmap(-1, _WORD + 2 * self._half)
        # Loads and stores of an aligned word are atomic.
        self._word = memoryview(self._memory)[:_WORD].cast("Q")

    def __repr__(self) -> str:
        return f"<SnapshotCell generation: {self.generation}>"

    @property
    def generation(self) -> int:
        """The generation of the current value."""
        return self._word[0]

    def publish(self, value: bytes) -> int:
        """Replace the current value; return the generation of the new one. Raises GatewayError if it is too large."""
        if len(value) > self._size:
            raise GatewayError(
                f"it has {len(value)} bytes, and there is room for {self._size} ({self._size // MIB} MiB)"
            )
        generation = self.generation + 1
        offset = self._offset(generation)
        _HEADER.pack_into(self._memory, offset, generation, len(value), _checksum(value, generation))
        self._memory[offset + _HEADER.size : offset + _HEADER.size + len(value)] = value
        self._word[0] = generation
        return generation

    def read(self) -> tuple[int, bytes]:
        """Return the generation of the current value, and the value; 0 and no bytes before the first."""
        while True:
            generation = self.generation
            if not generation:
                return 0, b""
            offset = self._offset(generation)
            marker, length, checksum = _HEADER.unpack_from(self._memory, offset)
            if marker == generation and length <= self._size:
                value = self._memory[offset + _HEADER.size : offset + _HEADER.size + length]
                if _checksum(value, generation) == checksum:
                    return generation, value
            # A torn write: the value was replaced twice during the read. The next iteration reads the newest one.

    def _offset(self, generation: int) -> int:
        return _WORD + (generation & 1) * self._half


def _checksum(value: bytes, generation: int) -> int:
    """Return a checksum seeded with the generation, which a header torn between two generations does not match."""
    return zlib.crc32(value, generation & 0xFFFF_FFFF)


class Slots:
    """One number for each child, written by that child only: the generation that it has applied."""

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, max(1, count) * _WORD)
        self._words = memoryview(self._memory).cast("Q")
        self._count = count

    def __repr__(self) -> str:
        return f"<Slots {self.all()}>"

    def note(self, slot: int, generation: int) -> None:
        """Store the generation that a child has applied."""
        self._words[slot] = generation

    def all(self) -> list[int]:
        """Return the generation of each child; 0 if it has applied none."""
        return list(self._words[: self._count])


_FIELDS = WorkerGauges.__struct_fields__


class Gauges:
    """The gauges of each worker, which it writes about once a second, one word at a time and without a lock.

    Those of a worker that was killed remain until its successor writes.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._memory = mmap.mmap(-1, max(1, workers) * len(_FIELDS) * _WORD)
        self._words = memoryview(self._memory).cast("Q")

    def __repr__(self) -> str:
        return f"<Gauges {self.all()}>"

    def note(self, worker: int, numbers: WorkerGauges) -> None:
        """Store a worker's gauges."""
        for index, field in enumerate(_FIELDS):
            self._words[worker * len(_FIELDS) + index] = getattr(numbers, field)

    def all(self) -> list[WorkerGauges]:
        """Return the gauges of every worker."""
        count = len(_FIELDS)
        return [WorkerGauges(*self._words[worker * count : (worker + 1) * count]) for worker in range(self._workers)]
