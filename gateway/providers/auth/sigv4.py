"""AWS's Signature Version 4: how a request to Bedrock, or to the services that give credentials, is signed. Pure.

Source: the Signature Version 4 pages of the IAM user guide. The signature is over the bytes that are sent, so a path or
a query is signed with the escapes it has.
"""

import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

from msgspec import Struct

Headers = list[tuple[bytes, bytes]]

# Written anew, or of an earlier signature.
_REPLACED = frozenset({b"authorization", b"date", b"x-amz-content-sha256", b"x-amz-date", b"x-amz-security-token"})
# What may change on the way is not signed.
_UNSIGNED = frozenset({b"connection", b"expect", b"transfer-encoding", b"user-agent", b"x-amzn-trace-id"})


class Credentials(Struct, frozen=True, kw_only=True):
    """Who signs. `expires` is a Unix time, None for those that last."""

    access_key: str
    secret_key: str
    token: str | None = None
    expires: float | None = None

    def __repr__(self) -> str:
        """Name the key's id only: the rest is secret."""
        return f"<Credentials {self.access_key}>"


def sign(
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    credentials: Credentials,
    *,
    region: str,
    service: str,
    now: float,
) -> Headers:
    """Return the headers to send: those given, with the time, the session's token and the signature.

    `host` is what the Host header will be; `path` and `query` (without `?`) are as they are sent; `now` is Unix time.
    """
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    sent = [(name, value) for name, value in headers if name.lower() not in _REPLACED]
    sent.append((b"X-Amz-Date", stamp.encode()))
    if credentials.token:
        sent.append((b"X-Amz-Security-Token", credentials.token.encode()))
    signed = _signed(sent, host)
    names = b";".join(signed)
    canonical = b"\n".join(
        [
            method.upper().encode(),
            quote(_normal(path), safe="/~").encode(),
            _sorted(query).encode(),
            *(name + b":" + value for name, value in signed.items()),
            b"",
            names,
            sha256(body).hexdigest().encode(),
        ]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{sha256(canonical).hexdigest()}"
    key = f"AWS4{credentials.secret_key}".encode()
    for step in (stamp[:8], region, service, "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={names.decode()}, Signature={signature}"
    )
    return [*sent, (b"Authorization", authorization.encode())]


def _signed(headers: Headers, host: str) -> dict[bytes, bytes]:
    """Return the headers to sign by their lower-case names, in order; those of one name are one, with commas."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if (lowered := name.lower()) not in _UNSIGNED:
            values.setdefault(lowered, []).append(b" ".join(value.split()))
    values.setdefault(b"host", [host.encode()])
    return {name: b",".join(values[name]) for name in sorted(values)}


def _normal(path: str) -> str:
    """Return a path without empty and dot segments."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment and segment != ".":
            kept.append(segment)
    slash = "/" if kept and path.endswith("/") else ""
    return f"/{'/'.join(kept)}{slash}"


def _sorted(query: str) -> str:
    """Return a query with its pairs in order; what has no `=` gets one."""
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    return "&".join(f"{name}={value}" for name, value in sorted((name, value) for name, _, value in pairs))
