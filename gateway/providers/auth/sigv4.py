"""AWS's Signature Version 4 for requests to Bedrock. Pure.

The signature is over the bytes that are sent: a path or a query is signed with the escapes it has. It is held to
botocore's by a test. Source: the Signature Version 4 pages of the IAM user guide.
"""

import hmac
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

from msgspec import Struct

Headers = list[tuple[bytes, bytes]]

# Replaced, or of an earlier signature.
_REPLACED = frozenset({b"authorization", b"date", b"x-amz-content-sha256", b"x-amz-date", b"x-amz-security-token"})
# Headers that proxies may change are not signed.
_UNSIGNED = frozenset({b"connection", b"expect", b"transfer-encoding", b"user-agent", b"x-amzn-trace-id"})


_HOST = re.compile(r"(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.(?:vpce\.|api\.)?(?:amazonaws\.com|aws$)")


class Credentials(Struct, frozen=True, kw_only=True):
    """An access key. `expires` is a Unix time, None if it does not expire."""

    access_key: str
    secret_key: str
    token: str | None = None
    expires: float | None = None

    def __repr__(self) -> str:
        """Show the key's id only: the rest is secret."""
        return f"<Credentials {self.access_key}>"


def host_region(host: str) -> str | None:
    """Return the region in a host of AWS's, which a signature must agree with; that of a private endpoint has one too.

    >>> host_region("vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com")
    'eu-west-1'
    """
    named = _HOST.search(host)
    return None if named is None else named[1]


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

    `host` is the value of the Host header; `path` and `query` (without `?`) are as sent; `now` is a Unix time.
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
    """Return the headers to sign by lower-case name, in order; the values of one name are joined by commas."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if (lowered := name.lower()) not in _UNSIGNED:
            values.setdefault(lowered, []).append(b" ".join(value.split()))
    values.setdefault(b"host", [host.encode()])
    return {name: b",".join(values[name]) for name in sorted(values)}


def _normal(path: str) -> str:
    """Return a path without empty and dot segments."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment and segment != ".":
            segments.append(segment)
    slash = "/" if segments and path.endswith("/") else ""
    return f"/{'/'.join(segments)}{slash}"


def _sorted(query: str) -> str:
    """Return a query with its pairs sorted, each with a `=`."""
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    return "&".join(f"{name}={value}" for name, value in sorted((name, value) for name, _, value in pairs))
