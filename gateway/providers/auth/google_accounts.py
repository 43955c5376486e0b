"""Google's credential files: what each type of them is traded for, at which service, for an access token.

A user's refresh token, a service account's key, a token of another platform (workload and workforce identity), and a
service account that one of them may act for. Sources: google-auth 2.63; Google, "Using OAuth 2.0 for server to server
applications"; RFC 6749, RFC 7523 and RFC 8693; AIP-4110 to AIP-4117.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct

from gateway.providers.auth import rs256
from gateway.providers.auth.token_request import Answer, Refused, ask, json_object, passes, place
from gateway.providers.http.client import Client

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105
_STS_URL = "https://sts.googleapis.com/v1/token"
_LIFE = 3600  # seconds, the longest that is given without a policy of its own
_GRANTS = "urn:ietf:params:oauth:grant-type:"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
_LOGIN = "run `gcloud auth application-default login`"
_PASSING = frozenset({"internal_failure", "server_error", "temporarily_unavailable"})
# What other platforms give as an identity in ways that are not followed here.
_UNKNOWN_SOURCES = {"environment_id": "AWS", "executable": "a program", "certificate": "a certificate"}

Info = Mapping[str, Any]


class Token(Struct, frozen=True, kw_only=True):
    """What is shown. `expires` is a Unix time, None where nobody says; `quota_project` is the project that pays."""

    access_token: str
    expires: float | None = None
    quota_project: str | None = None

    def __repr__(self) -> str:
        return "<Token>"


async def token_of(client: Client, info: Info, now: float) -> Token:
    """Trade what a credential file says for a token. Raises Refused, whose words begin in the middle of a sentence."""
    (kind,) = _needed(info, "type")
    trade = _TRADES.get(kind)
    if trade is None:
        raise Refused(f"its type is {kind[:50]!r}, and what is known here is {', '.join(_TRADES)}")
    try:
        return await trade(client, info, now)
    except UnicodeEncodeError:
        raise Refused("one of its texts cannot be sent") from None


async def _user(client: Client, info: Info, now: float) -> Token:
    """Trade a user's refresh token, as gcloud's login leaves it."""
    client_id, secret, refresh = _needed(info, "client_id", "client_secret", "refresh_token")
    form = {"grant_type": "refresh_token", "client_id": client_id, "client_secret": secret, "refresh_token": refresh}
    url = _secure(_text(info, "token_uri", _TOKEN_URL), "token_uri")
    try:
        return await _grant(client, url, form, now, hidden=(secret, refresh))
    except Refused as error:
        if error.passing:
            raise
        raise Refused(f"{error}; {_LOGIN}") from None


async def _federated_user(client: Client, info: Info, now: float) -> Token:
    """Trade a refresh token that STS gave a user of another identity provider."""
    url, refresh, client_id, secret = _needed(info, "token_url", "refresh_token", "client_id", "client_secret")
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    basic = _basic(client_id, secret)
    return await _grant(client, _secure(url, "token_url"), form, now, basic, hidden=(refresh, secret))


async def _service_account(client: Client, info: Info, now: float) -> Token:
    """Trade a statement that the account's key signed."""
    email, pem = _needed(info, "client_email", "private_key")
    url = _secure(_text(info, "token_uri", _TOKEN_URL), "token_uri")
    # The audience is Google's own token service also where another place leads there.
    claims: dict[str, str | int] = {
        "iss": email,
        "scope": SCOPE,
        "aud": _TOKEN_URL,
        "iat": int(now),
        "exp": int(now) + _LIFE,
    }
    key_id = _text(info, "private_key_id", "")
    try:
        assertion = await asyncio.to_thread(lambda: rs256.token(claims, rs256.read_key(pem), key_id))
    except ValueError as error:
        raise Refused(f"its private_key cannot be used: {error}") from None
    form = {"grant_type": f"{_GRANTS}jwt-bearer", "assertion": assertion}
    return await _grant(client, url, form, now, hidden=(assertion,))


async def _external(client: Client, info: Info, now: float) -> Token:
    """Trade a token of another platform."""
    audience, kind = _needed(info, "audience", "subject_token_type")
    url = _secure(_text(info, "token_url", _STS_URL), "token_url")
    subject = await _subject_token(client, info.get("credential_source"))
    form = {
        "grant_type": f"{_GRANTS}token-exchange",
        "audience": audience,
        "scope": SCOPE,
        "requested_token_type": _ACCESS_TOKEN,
        "subject_token": subject,
        "subject_token_type": kind,
    }
    client_id, secret = _text(info, "client_id", ""), _text(info, "client_secret", "")
    if client_id:
        token = await _grant(client, url, form, now, _basic(client_id, secret), hidden=(subject, secret))
    else:
        if project := _text(info, "workforce_pool_user_project", ""):
            form["options"] = quote(json.dumps({"userProject": project}))
        token = await _grant(client, url, form, now, hidden=(subject,))
    if not info.get("service_account_impersonation_url"):
        return token
    options = info.get("service_account_impersonation") or {}
    life = options.get("token_lifetime_seconds") if isinstance(options, dict) else None
    return await _acting(client, info, token, now, life)


async def _subject_token(client: Client, source: Any) -> str:
    """Read the token that another platform gives: from a file that it writes anew, or from a service."""
    if not isinstance(source, dict):
        raise Refused("it lacks credential_source")
    for name, what in _UNKNOWN_SOURCES.items():
        if name in source:
            raise Refused(f"its credential_source takes the token from {what}; only file and url are known here")
    if file := _text(source, "file", ""):
        try:
            given = await asyncio.to_thread(Path(file).read_text, "utf-8")
        except (OSError, ValueError) as error:
            raise Refused(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8'}") from None
    elif url := _text(source, "url", ""):
        headers = source.get("headers") or {}
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            raise Refused("the headers of its credential_source are no texts")
        answer = await ask(client, "GET", _secure(url, "credential_source.url", near=True), list(headers.items()))
        if answer.status != 200:
            whose = place(url)[0].host
            raise Refused(f"{whose} gave no subject token ({answer.status})", passing=passes(answer.status))
        given = answer.body.decode("utf-8", "replace")
    else:
        raise Refused("its credential_source has neither file nor url")
    form = source.get("format")
    if isinstance(form, dict) and form.get("type") == "json":
        value = json_object(given).get(_text(form, "subject_token_field_name", ""))
        given = value if isinstance(value, str) else ""
    if not given.strip():
        raise Refused("there is no token where its credential_source points to")
    return given.strip()


async def _impersonated(client: Client, info: Info, now: float) -> Token:
    """Act for a service account by what is said inside of another."""
    source = info.get("source_credentials")
    if not isinstance(source, dict) or source.get("type") == info["type"]:
        raise Refused("its source_credentials are none that may act for another account")
    try:
        token = await token_of(client, source, now)
    except Refused as error:
        raise Refused(f"of its source_credentials: {error}", passing=error.passing) from None
    return await _acting(client, info, token, now, None)


async def _acting(client: Client, info: Info, source: Token, now: float, life: Any) -> Token:
    """Ask IAM for a token of the service account that `source` may act for."""
    (url,) = _needed(info, "service_account_impersonation_url")
    wanted: dict[str, Any] = {"scope": [SCOPE], "lifetime": f"{life if type(life) is int and life > 0 else _LIFE}s"}
    if delegates := info.get("delegates"):
        wanted["delegates"] = delegates
    headers = [("Content-Type", "application/json"), ("Authorization", f"Bearer {source.access_token}")]
    url = _secure(url, "service_account_impersonation_url")
    answer = await ask(client, "POST", url, headers, json.dumps(wanted).encode())
    given = _given(answer, url, hidden=(source.access_token,))
    try:
        ends = datetime.fromisoformat(given["expireTime"])
    except (KeyError, TypeError, ValueError):
        raise Refused(f"{place(url)[0].host} says no time at which its token ends") from None
    left = (ends if ends.tzinfo else ends.replace(tzinfo=UTC)).timestamp() - now
    return read_token({"access_token": given.get("accessToken"), "expires_in": left}, place(url)[0].host, now)


async def _grant(
    client: Client,
    url: str,
    form: Mapping[str, str],
    now: float,
    basic: str = "",
    *,
    hidden: Sequence[str],
) -> Token:
    """Ask a token service (RFC 6749, section 5). `hidden`: what is not to be said even where the service says it."""
    headers = [("Content-Type", "application/x-www-form-urlencoded")]
    if basic:
        headers.append(("Authorization", f"Basic {basic}"))
    answer = await ask(client, "POST", url, headers, urlencode(form).encode())
    return read_token(_given(answer, url, [*hidden, basic]), place(url)[0].host, now)


def _given(answer: Answer, url: str, hidden: Sequence[str]) -> Info:
    """Return what a service granted. Raises Refused with the service's own words."""
    given = json_object(answer.body)
    if answer.status == 200:
        return given
    error = given.get("error")
    if isinstance(error, dict):
        told = [error.get("status"), error.get("message")]
    else:
        told = [error, given.get("error_description")]
    words = [word for word in told if isinstance(word, str) and word]
    said = "".join(sign for sign in " ".join(": ".join(words).split()) if sign.isprintable())
    for secret in sorted(filter(None, hidden), key=len, reverse=True):
        said = said.replace(secret, "***").replace(quote(secret, safe=""), "***")
    said = said[:300].rstrip(".")
    why = f"{place(url)[0].host} answered {answer.status}{f', {said}' if said else ''}"
    raise Refused(why, passing=passes(answer.status) or not _PASSING.isdisjoint(words))


def read_token(given: Info, whose: str, now: float) -> Token:
    """Read a token service's grant. Raises Refused where none is in it that is good now."""
    token = given.get("access_token")
    if not isinstance(token, str) or not sendable(token):
        raise Refused(f"{whose} gave no access token")
    left = given.get("expires_in")
    if left is None:
        return Token(access_token=token)
    try:
        seconds = float(left)
    except (TypeError, ValueError, OverflowError):
        raise Refused(f"{whose} gave a token with an end that is no time") from None
    if not 0 < seconds < float("inf"):
        raise Refused(f"{whose} gave a token that has expired")
    return Token(access_token=token, expires=now + seconds)


def sendable(token: str) -> bool:
    """Say whether a token can stand in a header."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _basic(client_id: str, secret: str) -> str:
    return b64encode(f"{client_id}:{secret}".encode()).decode()


def _needed(info: Info, *names: str) -> list[str]:
    """Return settings that have to be there. Raises Refused with the names of all that are not."""
    missing = [name for name in names if not isinstance(info.get(name), str) or not info[name]]
    if missing:
        raise Refused(f"it lacks {', '.join(missing)}")
    return [info[name] for name in names]


def _text(info: Info, name: str, usual: str) -> str:
    value = info.get(name) or usual
    if not isinstance(value, str):
        raise Refused(f"its {name} is no text")
    return value


def _secure(url: str, name: str, *, near: bool = False) -> str:
    """Return a URL to which secrets may go: with TLS, or on this machine, or `near`, where a platform's agent is."""
    try:
        origin, _ = place(url)
    except Refused:
        raise Refused(f"its {name} is no URL") from None
    try:
        address = ip_address(origin.host)
        here = address.is_loopback or (near and address.is_link_local)
    except ValueError:
        here = origin.host == "localhost"
    if origin.scheme != "https" and not here:
        raise Refused(f"its {name} is neither https:// nor on this machine")
    return url


_TRADES: Mapping[str, Callable[[Client, Info, float], Awaitable[Token]]] = {
    "authorized_user": _user,
    "service_account": _service_account,
    "external_account": _external,
    "external_account_authorized_user": _federated_user,
    "impersonated_service_account": _impersonated,
}
