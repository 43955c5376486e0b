"""One question to a service that hands out credentials: it is answered in whole, or `Refused` with no secret in it."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gateway.providers.http.client import Client, Origin, WireError

_SECONDS = 10.0
_LARGEST = 1024 * 1024


class Refused(Exception):  # noqa: N818  what it says is the middle of a longer sentence
    """Nothing was handed out, and why. `passing`: asking again may help."""

    def __init__(self, why: str, *, passing: bool = False) -> None:
        super().__init__(why)
        self.passing = passing


class Answer(NamedTuple):
    """What a service said; the headers' names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        """Say the status only: what is handed out is secret."""
        return f"<Answer {self.status}>"


def place(url: str) -> tuple[Origin, str]:
    """Split a URL into where it is and what to ask for there. Raises Refused."""
    try:
        parts = urlsplit(url)
        origin, _ = Origin.from_url(f"{parts.scheme}://{parts.netloc}")
    except ValueError:
        raise Refused("what is set there is no URL to ask") from None
    return origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


async def ask(
    client: Client,
    method: str,
    url: str,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    connect_seconds: float = _SECONDS,
    seconds: float = _SECONDS,
) -> Answer:
    """Ask once, `seconds` for all of it. Raises Refused; its cause is what the network said."""
    origin, target = place(url)
    try:
        sent = [(name.encode(), value.encode()) for name, value in headers]
        async with asyncio.timeout(seconds):
            response = await client.send(
                origin,
                method.encode(),
                target.encode(),
                sent,
                body,
                connect_timeout=connect_seconds,
                first_byte_timeout=seconds,
            )
            data = bytearray()
            while piece := await response.read(seconds):
                data += piece
                if len(data) > _LARGEST:
                    response.abort()
                    raise Refused(f"{origin.host} answered with more than {_LARGEST} bytes")
    except (WireError, TimeoutError) as error:
        raise Refused(f"{origin.host} gave no answer ({type(error).__name__})", passing=True) from error
    except ValueError:
        raise Refused(f"what is set for {origin.host} makes no request") from None
    names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    return Answer(response.status, names, bytes(data))


def passes(status: int) -> bool:
    """Say whether what a service answered may be another answer soon."""
    return status >= 500 or status in {408, 429}


def json_object(data: bytes | str) -> dict[str, Any]:
    """Return the JSON object that `data` is, an empty one where it is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}
