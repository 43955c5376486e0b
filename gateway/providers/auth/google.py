"""Google access tokens for Vertex, by the order of application default credentials.

A token of the environment, the file that GOOGLE_APPLICATION_CREDENTIALS names, the file of gcloud's `auth
application-default login`, the metadata server of a machine at Google. Files are exchanged for tokens by google-auth
(`google_files`); the metadata server is asked here, because google-auth takes its address from the process's own
environment when it is imported. Sources: Google, "How Application Default Credentials works" and "About VM metadata".
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct, structs

from gateway.providers.auth.extras import VERTEX, gcloud_file
from gateway.providers.auth.refresh import CredentialError, Refresher
from gateway.providers.auth.token_request import json_object, request, split_url
from gateway.providers.http.client import Client, ConnectFailed, ConnectTimeout
from gateway.providers.http.ways_out import DIRECTLY, WaysOut

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
# A metadata server returns the same token until four minutes before its expiry. Source: google-auth (_helpers.py).
_EARLY_SECONDS = 225.0
_ABSENT_SECONDS = 60.0  # for which it is remembered that there is no metadata server
_METADATA = "169.254.169.254"  # not its name, which is slow to resolve elsewhere
_METADATA_SECONDS = 1.0
_TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105
_REMEDY = (
    "Set GOOGLE_APPLICATION_CREDENTIALS to a credential file, or GOOGLE_OAUTH_ACCESS_TOKEN, "
    "or run `gcloud auth application-default login`, in the gateway's environment."
)


class Token(Struct, frozen=True, kw_only=True):
    """An access token. `expires` is a Unix time, None if unknown; `quota_project` is the project that is billed."""

    access_token: str
    expires: float | None = None
    quota_project: str | None = None

    def __repr__(self) -> str:
        return "<Token>"


Source = Callable[[float], Awaitable[Token | str]]
"""Returns a token, or the reason why it has none."""


class GoogleCredentials:
    """The access token of one environment, refreshed shortly before it expires. Times are Unix times."""

    def __init__(self, client: Client, environ: Mapping[str, str], ways: WaysOut = DIRECTLY) -> None:
        self._client = client
        self._environ = environ
        self._ways = ways
        self._refresher = Refresher(self._find, early=_EARLY_SECONDS, code="google_credentials", remedy=_REMEDY)
        self._absent_until = 0.0
        self._at_google = False

    def __repr__(self) -> str:
        return f"<GoogleCredentials {self._refresher.current!r}>"

    @property
    def quota_project(self) -> str | None:
        """The project that is billed for the last token's use (`x-goog-user-project`), if one is configured."""
        current = self._refresher.current
        project = self._environ.get("GOOGLE_CLOUD_QUOTA_PROJECT") or (current.quota_project if current else None)
        return project if project and sendable(project) else None

    async def get(self, now: float) -> str:
        """Return a token that is good at `now`. Raises ExchangeError with what was tried and the remedy."""
        return (await self._refresher.get(now)).access_token

    def forget(self, token: str) -> None:
        """Get another token at the next request: Google refused this one."""
        current = self._refresher.current
        if current is not None and current.access_token == token:
            self._refresher.forget(current)

    async def _find(self, now: float) -> Token:
        tried: list[str] = []
        sources: list[tuple[str, Source]] = [
            ("environment", self._environment),
            ("GOOGLE_APPLICATION_CREDENTIALS", self._named_file),
            ("gcloud", self._gcloud_file),
            ("metadata server", self._metadata),
        ]
        message = "There are no Google credentials."
        retryable = False
        try:
            for name, source in sources:
                found = await source(now)
                if isinstance(found, Token):
                    return found
                tried.append(f"{name}: {found}")
        except CredentialError as error:
            message, retryable = f"Google credentials could not be obtained: {error}.", error.retryable
        looked = f" Looked at {'; '.join(tried)}." if tried else ""
        raise CredentialError(message + looked, retryable=retryable)

    async def _environment(self, now: float) -> Token | str:  # noqa: ARG002
        names = ("GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN")
        for name in names:
            if token := self._environ.get(name, "").strip():
                if not sendable(token):
                    raise CredentialError(f"the value of {name} is no access token")
                return Token(access_token=token)
        return f"neither {' nor '.join(names)} is set"

    async def _named_file(self, now: float) -> Token | str:
        path = self._environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        if not path:
            return "it is not set"
        found = await self._file(Path(path), now)
        if found is None:
            raise CredentialError(f"{path}, which GOOGLE_APPLICATION_CREDENTIALS names, does not exist")
        return found

    async def _gcloud_file(self, now: float) -> Token | str:
        path = gcloud_file(self._environ)
        return await self._file(path, now) or f"{path} does not exist"

    async def _file(self, path: Path, now: float) -> Token | None:
        info = await asyncio.to_thread(_load, path)
        if info is None:
            return None
        loop = asyncio.get_running_loop()
        try:
            files = await asyncio.to_thread(VERTEX.load, "gateway.providers.auth.google_files")
            found, seconds = await asyncio.to_thread(files.exchange, info, self._client, loop, self._ways)
            token = _token(found, seconds, path.name, now)
        except CredentialError as error:
            raise CredentialError(f"{path}: {error}", retryable=error.retryable) from None
        project = info.get("quota_project_id")
        return structs.replace(token, quota_project=project if isinstance(project, str) else None)

    async def _metadata(self, now: float) -> Token | str:
        if self._environ.get("NO_GCE_CHECK", "").lower() == "true":
            return "NO_GCE_CHECK is true"
        if now < self._absent_until:
            return "there was none a moment ago"
        host = self._environ.get("GCE_METADATA_HOST") or self._environ.get("GCE_METADATA_ROOT") or _METADATA
        url = f"http://{host}{_TOKEN_PATH}?{urlencode({'scopes': SCOPE})}"
        flavor = [("Metadata-Flavor", "Google")]
        try:
            split_url(url)
        except CredentialError:
            raise CredentialError("the value of GCE_METADATA_HOST is no host") from None
        try:
            response = await request(self._client, "GET", url, flavor, connect_seconds=_METADATA_SECONDS)  # by no proxy
        except CredentialError as error:
            absent = error.__cause__
            if self._at_google or not isinstance(absent, ConnectFailed | ConnectTimeout):
                raise
            # A pod's server may start after the pod, and a refused connection costs no time.
            if not isinstance(absent, ConnectFailed) or absent.reason != "refused":
                self._absent_until = now + _ABSENT_SECONDS
            return f"{host} cannot be reached"
        if response.headers.get("metadata-flavor") != "Google":
            self._absent_until = now + _ABSENT_SECONDS
            return f"the server at {host} is not Google's"
        self._at_google = True
        if response.status == 404:
            raise CredentialError("this machine has no service account")
        if response.status != 200:
            raise CredentialError(f"the metadata server answered {response.status}", retryable=response.retryable)
        given = json_object(response.data)
        return _token(given.get("access_token"), given.get("expires_in"), "the metadata server", now)


def sendable(token: str) -> bool:
    """Whether a token can be the value of a header."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _token(access_token: Any, seconds: Any, issuer: str, now: float) -> Token:
    """Return a token that is good for `seconds`. Raises CredentialError."""
    if not isinstance(access_token, str) or not sendable(access_token):
        raise CredentialError(f"{issuer} gave no access token")
    if seconds is None:
        return Token(access_token=access_token)
    try:
        left = float(seconds)
    except (TypeError, ValueError, OverflowError):
        raise CredentialError(f"{issuer} gave a token whose expiry is no number") from None
    if not 0 < left < float("inf"):
        raise CredentialError(f"{issuer} gave a token that has expired")
    return Token(access_token=access_token, expires=now + left)


def _load(path: Path) -> dict[str, Any] | None:
    """Read a credential file; None if there is none. Blocks. Raises CredentialError."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CredentialError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CredentialError(f"{path} holds no JSON object")
    return value
