"""The services that hand out AWS credentials: STS, IAM Identity Center, a container's agent and an instance's metadata.

Each function asks once and returns credentials, or raises `Refused` with words that hold no secret.
"""

import html
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from gateway.providers.auth.sigv4 import Credentials, Headers, sign
from gateway.providers.http.client import Client, Origin, WireError

_SECONDS = 10.0
_METADATA_SECONDS = 1.0
_LARGEST = 1024 * 1024
_METADATA = "http://169.254.169.254"
_ROLES = "/latest/meta-data/iam/security-credentials/"
# Where a container's agent may be asked without TLS, besides the machine itself: ECS and EKS.
_AGENTS = frozenset({"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "127.0.0.1", "::1", "localhost"})


class Refused(Exception):  # noqa: N818  what it says is the middle of a longer sentence
    """Nothing was handed out, and why. `passing`: asking again may help."""

    def __init__(self, why: str, *, passing: bool = False) -> None:
        super().__init__(why)
        self.passing = passing


async def fetch(
    client: Client, method: str, url: str, headers: Headers, body: bytes = b"", seconds: float = _SECONDS
) -> tuple[int, bytes]:
    """Ask a URL and return the status and the body. Raises Refused."""
    origin, parts = _parts(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        response = await client.send(
            origin,
            method.encode(),
            target.encode(),
            headers,
            body,
            connect_timeout=seconds,
            first_byte_timeout=seconds,
        )
        data = bytearray()
        while piece := await response.read(seconds):
            data += piece
            if len(data) > _LARGEST:
                response.abort()
                raise Refused(f"{origin.host} answered with more than {_LARGEST} bytes")
    except (WireError, ValueError) as error:
        raise Refused(f"{origin.host} gave no answer ({type(error).__name__})", passing=True) from None
    return response.status, bytes(data)


def _parts(url: str) -> tuple[Origin, SplitResult]:
    try:
        parts = urlsplit(url)
        return Origin.from_url(f"{parts.scheme}://{parts.netloc}")[0], parts
    except ValueError:
        raise Refused("what is set there is no URL to ask") from None


def endpoint(service: str, region: str | None, environ: Mapping[str, str]) -> str:
    """Return a service's URL without a slash at the end: as the environment sets it, else AWS's own."""
    variable = service.replace("-", "_").upper()
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
        told = environ.get(f"AWS_ENDPOINT_URL_{variable}") or environ.get("AWS_ENDPOINT_URL")
        if told:
            return told.rstrip("/")
    host = {"sso": "portal.sso"}.get(service, service)
    place = f"{host}.{region}" if region else host
    return f"https://{place}.amazonaws.com{'.cn' if region and region.startswith('cn-') else ''}"


async def assume_role(
    client: Client,
    url: str,
    query: Mapping[str, str],
    source: Credentials | None,
    region: str,
    now: float,
) -> Credentials:
    """Ask STS for a role: signed by `source`, or proven by the token in `query`."""
    body = urlencode({"Version": "2011-06-15", **query}).encode()
    headers: Headers = [(b"Content-Type", b"application/x-www-form-urlencoded; charset=utf-8")]
    if source is not None:
        _, parts = _parts(url)
        headers.append((b"Host", parts.netloc.encode()))
        path = parts.path or "/"
        headers = sign("POST", parts.netloc, path, "", headers, body, source, region=region, service="sts", now=now)
    status, answer = await fetch(client, "POST", url, headers, body)
    said = answer.decode("utf-8", "replace")
    if status != 200:
        why = f"{_element(said, 'Code') or status}: {_element(said, 'Message') or 'no message'}"
        raise Refused(f"STS refused the role: {why[:300]}", passing=status >= 500 or status == 429)
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    return read_credentials({name: _element(said, name) for name in names}, "STS")


def _element(xml: str, name: str) -> str | None:
    found = re.search(rf"<{name}>(.*?)</{name}>", xml, re.DOTALL)
    return html.unescape(found.group(1)).strip() if found else None


async def of_identity_center(client: Client, url: str, account: str, role: str, access_token: str) -> Credentials:
    """Ask IAM Identity Center for a role of an account, by the token of `aws sso login`."""
    target = f"{url}/federation/credentials?role_name={quote(role, safe='')}&account_id={quote(account, safe='')}"
    status, answer = await fetch(client, "GET", target, [(b"x-amz-sso_bearer_token", access_token.encode())])
    if status != 200:
        raise Refused(f"IAM Identity Center answered {status}; run `aws sso login`", passing=status >= 500)
    given = _object(answer, "IAM Identity Center").get("roleCredentials")
    given = given if isinstance(given, dict) else {}
    expires = given.get("expiration")
    if not isinstance(expires, int):
        raise Refused("IAM Identity Center's answer says no expiry")
    return read_credentials(
        {
            "AccessKeyId": given.get("accessKeyId"),
            "SecretAccessKey": given.get("secretAccessKey"),
            "SessionToken": given.get("sessionToken"),
        },
        "IAM Identity Center",
        expires / 1000,
    )


async def of_container(client: Client, url: str, token: str | None) -> Credentials:
    """Ask a container's agent (ECS, EKS Pod Identity)."""
    origin, _ = _parts(url)
    if origin.scheme != "https" and origin.host not in _AGENTS:
        raise Refused(f"{origin.host} may not be asked without TLS; only the machine itself and AWS's agents may")
    status, answer = await fetch(client, "GET", url, [(b"Authorization", token.encode())] if token else [])
    if status != 200:
        raise Refused(f"the container's agent answered {status}", passing=status >= 500)
    return read_credentials(_object(answer, "the container's agent"), "the container's agent")


async def of_instance(client: Client, environ: Mapping[str, str]) -> Credentials | None:
    """Ask an instance's metadata service, version 2; None where no such service answers."""
    six = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower() == "ipv6"
    url = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or ("http://[fd00:ec2::254]" if six else _METADATA)
    url = url.rstrip("/")
    seconds = _METADATA_SECONDS
    ttl = [(b"X-aws-ec2-metadata-token-ttl-seconds", b"21600")]
    try:
        status, token = await fetch(client, "PUT", f"{url}/latest/api/token", ttl, seconds=seconds)
    except Refused:
        return None
    if status != 200:
        raise Refused(f"the instance's metadata service gave no token ({status})", passing=status >= 500)
    shown = [(b"X-aws-ec2-metadata-token", token.strip())]
    status, roles = await fetch(client, "GET", url + _ROLES, shown, seconds=seconds)
    role = roles.decode("utf-8", "replace").strip().partition("\n")[0]
    if status == 404 or (status == 200 and not role):
        return None
    if status == 200:
        status, answer = await fetch(client, "GET", url + _ROLES + quote(role, safe=""), shown, seconds=seconds)
    if status != 200:
        raise Refused(f"the instance's metadata service answered {status}", passing=status >= 500)
    return read_credentials(_object(answer, "the instance's metadata service"), "the instance's metadata service")


def read_credentials(given: Mapping[str, Any], whose: str, expires: float | None = None) -> Credentials:
    """Read credentials in the usual names. Raises Refused where the key is not there."""
    key, secret = given.get("AccessKeyId"), given.get("SecretAccessKey")
    if not (isinstance(key, str) and isinstance(secret, str) and key and secret):
        raise Refused(f"{whose} gave no AccessKeyId and SecretAccessKey")
    token = given.get("SessionToken") or given.get("Token")
    ends = given.get("Expiration")
    if isinstance(ends, str) and ends:
        try:
            expires = datetime.fromisoformat(ends).timestamp()
        except ValueError:
            raise Refused(f"{whose} gave an Expiration that is no time") from None
    return Credentials(
        access_key=key, secret_key=secret, token=token if isinstance(token, str) else None, expires=expires
    )


def _object(data: bytes, whose: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refused(f"{whose} answered with no JSON object")
    return value
