"""AWS credentials for Bedrock, in the order of AWS's SDKs, and the headers that they make.

A Bedrock key (AWS_BEARER_TOKEN_BEDROCK) or the keys of the environment are used as they are. All other sources are
botocore's (`aws_chain`): web identity, profiles, roles, IAM Identity Center, processes, containers and instances.
Source: the "Standardized credential providers" pages of the AWS SDKs and tools reference guide.
"""

import asyncio
import logging
from collections.abc import Mapping
from configparser import Error, RawConfigParser
from pathlib import Path

from msgspec import Struct

from gateway.providers.auth.extras import BEDROCK
from gateway.providers.auth.refresh import CredentialError, Refresher
from gateway.providers.auth.sigv4 import Credentials, Headers, sign
from gateway.providers.http.ways_out import DIRECTLY, WaysOut

log = logging.getLogger("gateway")

_EARLY_SECONDS = 600.0
_REMEDY = (
    "Set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, "
    "in the gateway's environment."
)


class Bearer(Struct, frozen=True):
    """A Bedrock key, which is sent as it is: nothing is signed."""

    token: str
    expires: None = None

    def __repr__(self) -> str:
        return "<Bearer>"


Credential = Credentials | Bearer


def authorized(
    credential: Credential,
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Headers,
    body: bytes,
    *,
    region: str,
    now: float,
) -> Headers:
    """Return the headers of a request to Bedrock, with its authorization. The arguments are those of `sign`."""
    if isinstance(credential, Credentials):
        return sign(method, host, path, query, headers, body, credential, region=region, service="bedrock", now=now)
    sent = [(name, value) for name, value in headers if name.lower() != b"authorization"]
    return [*sent, (b"Authorization", f"Bearer {credential.token}".encode())]


class AwsCredentials:
    """The credentials of one environment, refreshed ten minutes before they expire. Times are Unix times."""

    def __init__(self, environ: Mapping[str, str], ways: WaysOut = DIRECTLY) -> None:
        self._environ = environ
        self._ways = ways
        self._refresher: Refresher[Credential] = Refresher(
            self._find, early=_EARLY_SECONDS, code="aws_credentials", remedy=_REMEDY
        )

    def __repr__(self) -> str:
        return f"<AwsCredentials {self._refresher.current!r}>"

    async def get(self, now: float) -> Credential:
        """Return credentials that are good at `now`. Raises ExchangeError with what was tried and the remedy."""
        return await self._refresher.get(now)

    def forget(self, credential: Credential) -> None:
        """Look for credentials again at the next request: AWS refused these."""
        self._refresher.forget(credential)

    async def _find(self, now: float) -> Credential:  # noqa: ARG002
        environ = self._environ
        if token := environ.get("AWS_BEARER_TOKEN_BEDROCK"):
            return Bearer(token)
        if key := environ.get("AWS_ACCESS_KEY_ID"):
            if not (secret := environ.get("AWS_SECRET_ACCESS_KEY")):
                raise CredentialError("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not.")
            return Credentials(access_key=key, secret_key=secret, token=environ.get("AWS_SESSION_TOKEN") or None)
        try:
            return await asyncio.to_thread(_from_chain, environ, self._ways)
        except CredentialError as error:
            raise CredentialError(f"No AWS credentials were found: {error}.", retryable=error.retryable) from error


def _from_chain(environ: Mapping[str, str], ways: WaysOut) -> Credentials:
    """Import botocore at the first use and run its chain. Blocks. Raises CredentialError."""
    try:
        chain = BEDROCK.load("gateway.providers.auth.aws_chain")
    except CredentialError as error:
        raise CredentialError(f"AWS_ACCESS_KEY_ID is not set, and for all other sources {error}") from None
    found: Credentials = chain.find(environ, ways)
    return found


def config_paths(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Return the paths of AWS's configuration file and of its credentials file."""
    home = Path(environ.get("HOME") or "/")

    def path(variable: str, name: str) -> Path:
        named = environ.get(variable)
        if not named:
            return home / ".aws" / name
        return home / named[2:] if named.startswith("~/") else Path(named)

    return path("AWS_CONFIG_FILE", "config"), path("AWS_SHARED_CREDENTIALS_FILE", "credentials")


def with_region(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with the AWS region of its profile, unless it names a region itself. Blocks."""
    if environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"):
        return environ
    name = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
    region = None
    try:
        for path in config_paths(environ):  # the credentials file wins
            for heading, section in _sections(path).items():
                if heading.removeprefix("profile ").strip().strip("'\"") == name:
                    region = section.get("region") or region
    except CredentialError as error:
        log.warning("The AWS region of the profile %r is not known: %s", name, error)
    return {**environ, "AWS_REGION": region} if region else environ


def _sections(path: Path) -> dict[str, Mapping[str, str]]:
    parser = RawConfigParser(default_section="", strict=False, interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise CredentialError(f"{path} cannot be read: {reason}") from None
    except Error as error:
        line = getattr(error, "lineno", None) or next((n for n, _ in getattr(error, "errors", ())), None)
        raise CredentialError(f"{path} is no AWS configuration{f', see line {line}' if line else ''}") from None
    return {heading: parser[heading] for heading in parser.sections()}
