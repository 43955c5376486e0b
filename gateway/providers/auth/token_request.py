"""One request to a service that issues credentials: a whole response, or `CredentialError` without a secret in it."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gateway.providers.auth.refresh import CredentialError
from gateway.providers.http.client import Client, ConnectFailed, Origin, StaleConnection, WireError
from gateway.providers.http.ways_out import DIRECTLY, WaysOut

_SECONDS = 10.0
_MAX_BYTES = 1024 * 1024


class TokenResponse(NamedTuple):
    """A service's response; the headers' names are in lower case."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    def __repr__(self) -> str:
        """Show the status only: what is issued is secret."""
        return f"<TokenResponse {self.status}>"

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status >= 500 or self.status in {408, 429}


def split_url(url: str) -> tuple[Origin, str]:
    """Split a URL into its origin and its target. Raises CredentialError."""
    try:
        parts = urlsplit(url)
        origin, _ = Origin.from_url(f"{parts.scheme}://{parts.netloc}")
    except ValueError:
        raise CredentialError("the URL of the token service is not valid") from None
    return origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


async def request(
    client: Client,
    method: str,
    url: str,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    connect_seconds: float = _SECONDS,
    seconds: float = _SECONDS,
    ways: WaysOut = DIRECTLY,
) -> TokenResponse:
    """Send one request, `seconds` for the whole of it. Raises CredentialError; its cause is the network's error."""
    origin, target = split_url(url)
    try:
        sent = [(name.encode(), value.encode()) for name, value in headers]
        async with asyncio.timeout(seconds):
            send = partial(
                client.send,
                origin,
                method.encode(),
                target.encode(),
                sent,
                body,
                connect_timeout=connect_seconds,
                first_byte_timeout=seconds,
                way=ways.to(origin),
            )
            try:
                response = await send()
            except StaleConnection:  # a token may be requested twice
                response = await send()
            data = bytearray()
            while piece := await response.read(seconds):
                data += piece
                if len(data) > _MAX_BYTES:
                    response.abort()
                    raise CredentialError(f"{origin.host} answered with more than {_MAX_BYTES} bytes")
    except (WireError, TimeoutError) as error:
        if isinstance(error, ConnectFailed) and error.setting is not None:
            reason = f"{error} (setting: {error.setting})"
            raise CredentialError(reason, retryable=not error.lasting) from error
        raise CredentialError(f"{origin.host} gave no answer ({type(error).__name__})", retryable=True) from error
    except ValueError:
        raise CredentialError(f"the settings for {origin.host} make no valid request") from None
    names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    return TokenResponse(response.status, names, bytes(data))


def json_object(data: bytes | str) -> dict[str, Any]:
    """Decode a JSON object; an empty one for anything else."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}
