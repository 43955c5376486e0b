"""The client: sends each path's bytes on a connection of its own, and keeps the bytes that come back."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from gateway.cli.doctor.paths import Path

_AT_ONCE = 8
_PATIENCE = 15.0


class Got(Struct, frozen=True, kw_only=True):
    """What a client got. `status`: 0 where there was no answer. `body`: without its chunks."""

    status: int
    head: bytes = b""
    body: bytes = b""

    @property
    def data(self) -> bytes:
        """All of it."""
        return self.head + self.body


async def drive(port: int, paths: Sequence[Path], told: Callable[[int, int], None]) -> dict[str, Got]:
    """Send all paths, some at once, and return what came back by id. `told` hears how many of how many are done."""
    gate, done, got = asyncio.Semaphore(_AT_ONCE), 0, dict[str, Got]()

    async def one(path: Path) -> None:
        nonlocal done
        async with gate:
            got[path.id] = await send(port, path.data, leaves=path.leaves)
        done += 1
        told(done, len(paths))

    async with asyncio.TaskGroup() as group:
        for path in paths:
            group.create_task(one(path))
    return got


async def send(port: int, data: bytes, *, leaves: bool = False) -> Got:
    """Send a request that says `Connection: close`, and read to the end; `leaves`: only until the body has begun."""
    read = b""
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(data)
                while piece := await reader.read(65536):
                    read += piece
                    if leaves and len(read.partition(b"\r\n\r\n")[2]) > 0:
                        break
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        pass  # what came until then counts
    return parsed(read)


def parsed(read: bytes) -> Got:
    """Return a response as far as it came."""
    head, _, body = read.partition(b"\r\n\r\n")
    first = head.split(b" ", 2)
    if len(first) < 2 or not first[1].isdigit():
        return Got(status=0, body=read)
    chunked = b"transfer-encoding: chunked" in head.lower()
    return Got(status=int(first[1]), head=head, body=_joined(body) if chunked else body)


def _joined(body: bytes) -> bytes:
    """Return a chunked body without its chunks' heads; what is broken off stays as it is."""
    pieces: list[bytes] = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        try:
            length = int(size.partition(b";")[0], 16)
        except ValueError:
            return b"".join(pieces) + body
        if not length:
            break
        pieces.append(rest[:length])
        body = rest[length + 2 :]
    return b"".join(pieces)
