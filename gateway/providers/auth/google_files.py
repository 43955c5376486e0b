"""Google credential files, exchanged for access tokens by google-auth. Imported if needed only; blocks.

google-auth signs and writes the requests; they are sent by the gateway's own client, so that one place bounds their
time and size, sends secrets by TLS or to this machine only, and keeps them out of errors.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from math import ceil
from typing import Any
from urllib.parse import parse_qsl

from google.auth import aws, exceptions, identity_pool, impersonated_credentials, pluggable, transport
from google.auth.external_account_authorized_user import Credentials as FederatedUser
from google.oauth2.credentials import Credentials as User
from google.oauth2.service_account import Credentials as ServiceAccount

from gateway.providers.auth.google import SCOPE
from gateway.providers.auth.refresh import CredentialError
from gateway.providers.auth.token_request import TokenResponse, json_object, request, split_url
from gateway.providers.http.client import Client
from gateway.providers.http.ways_out import DIRECTLY, WaysOut
from gateway.redaction import without_secrets

_LOOP_SECONDS = 15.0
_LOGIN = "run `gcloud auth application-default login`"
_RETRYABLE = frozenset({"internal_failure", "server_error", "temporarily_unavailable"})
_SECRET = frozenset({"assertion", "client_secret", "private_key", "refresh_token", "subject_token"})
_SUBJECT_OF_AWS = "urn:ietf:params:aws:token-type:aws4_request"

Info = Mapping[str, Any]


def exchange(
    info: Info, client: Client, loop: asyncio.AbstractEventLoop, ways: WaysOut = DIRECTLY
) -> tuple[str, float | None]:
    """Return a file's access token and the seconds until it expires; `loop` is the client's.

    Raises CredentialError, whose text continues a sentence about the file.
    """
    kind = info.get("type")
    if not isinstance(kind, str):
        raise CredentialError("it lacks type")
    if kind not in _TYPES:
        raise CredentialError(f"its type is {kind[:50]!r}, and the supported types are {', '.join(_TYPES)}")
    missing = [name for name in _REQUIRED[kind] if not info.get(name) or not isinstance(info[name], str | dict)]
    if missing:
        raise CredentialError(f"it lacks {', '.join(missing)}")
    try:
        credentials = _TYPES[kind](info)
        credentials.refresh(_Transport(client, loop, info, ways))
    except CredentialError as error:
        if kind == "authorized_user" and not error.retryable:
            raise CredentialError(f"{error}; {_LOGIN}") from None
        raise
    except Exception as error:
        raise _translated(error) from None
    expiry = credentials.expiry  # UTC, without a zone; a round trip is not part of the life
    return credentials.token, ceil((expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()) if expiry else None


def _user(info: Info) -> Any:
    credentials = User.from_authorized_user_info(info)
    # The file's URL may be a private endpoint's; google-auth would ignore it.
    url = info.get("token_uri")
    return credentials.with_token_uri(url) if url else credentials


def _external(info: Info) -> Any:
    """Return the credentials of a workload or workforce identity: of AWS, of a program, of a file or of a service."""
    source = info.get("credential_source")
    kind: Any = identity_pool
    if info.get("subject_token_type") == _SUBJECT_OF_AWS:
        kind = aws
    elif isinstance(source, dict) and "executable" in source:
        kind = pluggable
    return kind.Credentials.from_info(info, scopes=[SCOPE])


def _impersonated(info: Info) -> Any:
    credentials = impersonated_credentials.Credentials.from_impersonated_service_account_info(info, scopes=[SCOPE])
    # The file's URL may be a private endpoint's; google-auth would use its name only.
    credentials._iam_endpoint_override = info["service_account_impersonation_url"]  # noqa: SLF001
    return credentials


_TYPES: Mapping[str, Callable[[Any], Any]] = {
    "authorized_user": _user,
    "service_account": lambda info: ServiceAccount.from_service_account_info(info, scopes=[SCOPE]),
    "external_account": _external,
    "external_account_authorized_user": FederatedUser.from_info,
    "impersonated_service_account": _impersonated,
}
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
    "service_account": ("client_email", "private_key", "token_uri"),
    "external_account": ("audience", "subject_token_type", "token_url", "credential_source"),
    "external_account_authorized_user": ("token_url", "refresh_token", "client_id", "client_secret"),
    "impersonated_service_account": ("service_account_impersonation_url", "source_credentials"),
}


class _Transport(transport.Request):
    """Sends google-auth's requests on the event loop, from a thread. A refusal is raised here, with its reason."""

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop, info: Info, ways: WaysOut) -> None:
        self._client = client
        self._loop = loop
        self._info = info
        self._ways = ways

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002  the client has its own
        **options: Any,
    ) -> TokenResponse:
        """Return a successful response. Raises CredentialError."""
        if options.get("cert"):
            raise CredentialError("its credential_source needs mutual TLS, which the gateway does not speak")
        if not _secure(url, secret=body is not None):
            raise CredentialError(f"{_host(url)} is neither https:// nor on this machine, and would get secrets")
        data = body.encode() if isinstance(body, str) else body or b""
        sent = request(self._client, method, url, list((headers or {}).items()), data, ways=self._ways)
        try:
            response = asyncio.run_coroutine_threadsafe(sent, self._loop).result(_LOOP_SECONDS)
        except TimeoutError:  # the loop has stopped: a request has a shorter limit of its own
            raise CredentialError(f"{_host(url)} gave no answer", retryable=True) from None
        if response.status == 200:
            return response
        raise _refused(response, _host(url), _secrets(self._info, data, headers or {}))


def _host(url: str) -> str:
    return split_url(url)[0].host


def _secure(url: str, *, secret: bool) -> bool:
    """Whether a request may be sent to a URL: by TLS, to this machine, or without a body to a platform's agent."""
    origin, _ = split_url(url)
    try:
        address = ip_address(origin.host)
        near = address.is_loopback or (not secret and address.is_link_local)
    except ValueError:
        near = origin.host == "localhost"
    return origin.scheme == "https" or near


def _secrets(info: Info, body: bytes, headers: Mapping[str, str]) -> list[str]:
    """Return the secrets of a file and of a request, which the response may repeat."""
    values = [value for name, value in parse_qsl(body.decode("utf-8", "replace")) if name in _SECRET]
    values += [value.rpartition(" ")[2] for name, value in headers.items() if name.lower() == "authorization"]
    for each in (info, info.get("source_credentials")):
        if isinstance(each, dict):
            values += [value for name, value in each.items() if name in _SECRET and isinstance(value, str)]
    return values


def _refused(response: TokenResponse, host: str, secrets: list[str]) -> CredentialError:
    """Return a refusal with the service's reason (RFC 6749, section 5.2), without the secrets it was sent."""
    error = json_object(response.data).get("error")
    if isinstance(error, dict):
        given = [error.get("status"), error.get("message")]
    else:
        given = [error, json_object(response.data).get("error_description")]
    words = [word for word in given if isinstance(word, str) and word]
    reason = "".join(sign for sign in " ".join(": ".join(words).split()) if sign.isprintable())
    reason = without_secrets(reason, secrets)[:300].rstrip(".")
    return CredentialError(
        f"{host} answered {response.status}{f', {reason}' if reason else ''}",
        retryable=response.retryable or not _RETRYABLE.isdisjoint(words),
    )


def _translated(error: Exception) -> CredentialError:
    """Return google-auth's error as ours: its first argument is a text, the others may be a response."""
    if isinstance(error, OSError):
        return CredentialError(f"{error.filename} cannot be read: {error.strerror}")
    if isinstance(error, UnicodeError):
        return CredentialError("one of its texts cannot be sent")
    known = isinstance(error, exceptions.GoogleAuthError | ValueError) and error.args and isinstance(error.args[0], str)
    text = error.args[0] if known else type(error).__name__
    return CredentialError(
        text.rstrip(".")
        if known
        else f"it, or the response of its token service, is malformed ({type(error).__name__})"
    )
