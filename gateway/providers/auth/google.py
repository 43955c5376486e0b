"""Where Google's access tokens come from: the application default credentials of Google's own libraries.

In this order: a token in the environment, the file that GOOGLE_APPLICATION_CREDENTIALS names, the file that gcloud's
`auth application-default login` leaves, the metadata server of a machine at Google. Sources: Google, "How Application
Default Credentials works" and "About VM metadata"; google-auth 2.63.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from msgspec import structs

from gateway.errors import ExchangeError, Kind
from gateway.providers.auth.google_accounts import SCOPE, Token, read_token, sendable, token_of
from gateway.providers.auth.token_request import Refused, ask, json_object, passes, place
from gateway.providers.http.client import Client, ConnectFailed, ConnectTimeout

# A machine's metadata server gives the same token until four minutes before its end. Source: google-auth (_helpers.py).
_EARLY = 225.0  # seconds before its end at which a token is refreshed, if that is sooner than half its life
_REREAD = 300.0  # seconds after which a token of which nobody says when it ends is looked for again
_FAILED = 5.0  # seconds for which a failure is remembered
_ABSENT = 60.0  # seconds for which it is remembered that there is no metadata server
_METADATA = "169.254.169.254"  # not its name, which takes long to look up where nobody knows it
_METADATA_SECONDS = 1.0
_TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105

Source = Callable[[float], Awaitable[Token | str]]
"""Gives a token, or says why it has none."""


class GoogleCredentials:
    """The access token of one worker, kept until shortly before its end. Times are Unix times."""

    def __init__(self, client: Client, environ: Mapping[str, str], *, home: Path | None = None) -> None:
        self._client = client
        self._environ = environ
        self._home = home or Path(environ.get("HOME") or "/")
        self._lock = asyncio.Lock()
        self._kept: Token | None = None
        self._refresh_at = 0.0
        self._failure: tuple[float, _Failure] | None = None
        self._absent_until = 0.0
        self._at_google = False

    def __repr__(self) -> str:
        return f"<GoogleCredentials {self._kept!r}>"

    @property
    def quota_project(self) -> str | None:
        """The project that pays for what the last token is used for: `x-goog-user-project`, where one is told."""
        project = self._environ.get("GOOGLE_CLOUD_QUOTA_PROJECT") or (self._kept.quota_project if self._kept else None)
        return project if project and sendable(project) else None

    async def get(self, now: float) -> str:
        """Return a token that is good now. Raises ExchangeError, which says what was tried."""
        kept = self._kept
        if kept is not None and (now < self._refresh_at or (_good(kept, now) and self._lock.locked())):
            return kept.access_token
        async with self._lock:
            if self._kept is not None and now < self._refresh_at:
                return self._kept.access_token
            if self._failure is not None and now < self._failure[0]:
                raise self._failure[1].error()
            found = await self._find(now)
            if isinstance(found, _Failure):
                if self._kept is not None and _good(self._kept, now):
                    self._refresh_at = min(now + _FAILED, self._kept.expires or now + _FAILED)
                    return self._kept.access_token
                self._failure = (now + _FAILED, found)
                raise found.error()
            self._kept = found
            self._refresh_at = now + _REREAD
            if found.expires is not None:
                self._refresh_at = found.expires - min(_EARLY, (found.expires - now) / 2)
            return found.access_token

    def forget(self, token: str) -> None:
        """Look for a token again next time: this one was refused."""
        if self._kept is not None and self._kept.access_token == token:
            self._kept = None

    async def _find(self, now: float) -> "Token | _Failure":
        tried: list[str] = []
        sources: list[tuple[str, Source]] = [
            ("environment", self._environment),
            ("GOOGLE_APPLICATION_CREDENTIALS", self._named_file),
            ("gcloud", self._gcloud_file),
            ("metadata server", self._metadata),
        ]
        try:
            for name, source in sources:
                found = await source(now)
                if isinstance(found, Token):
                    return found
                tried.append(f"{name}: {found}")
        except Refused as error:
            return _Failure(f"Google credentials could not be had: {error}.", tried, passing=error.passing)
        return _Failure("There are no Google credentials.", tried)

    async def _environment(self, now: float) -> Token | str:  # noqa: ARG002
        names = ("GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN")
        for name in names:
            if token := self._environ.get(name, "").strip():
                if not sendable(token):
                    raise Refused(f"what {name} holds is no access token")
                return Token(access_token=token)
        return f"neither {' nor '.join(names)} is set"

    async def _named_file(self, now: float) -> Token | str:
        path = self._environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        if not path:
            return "it is not set"
        found = await self._file(Path(path), now)
        if found is None:
            raise Refused(f"{path}, which GOOGLE_APPLICATION_CREDENTIALS names, is not there")
        return found

    async def _gcloud_file(self, now: float) -> Token | str:
        told = self._environ.get("CLOUDSDK_CONFIG")
        folder = Path(told) if told else self._home / ".config" / "gcloud"
        path = folder / "application_default_credentials.json"
        return await self._file(path, now) or f"{path} is not there"

    async def _file(self, path: Path, now: float) -> Token | None:
        info = await asyncio.to_thread(_load, path)
        if info is None:
            return None
        try:
            token = await token_of(self._client, info, now)
        except Refused as error:
            raise Refused(f"{path}: {error}", passing=error.passing) from None
        project = info.get("quota_project_id")
        return structs.replace(token, quota_project=project if isinstance(project, str) else None)

    async def _metadata(self, now: float) -> Token | str:
        if self._environ.get("NO_GCE_CHECK", "").lower() == "true":
            return "NO_GCE_CHECK is true"
        if now < self._absent_until:
            return "none was there a moment ago"
        host = self._environ.get("GCE_METADATA_HOST") or self._environ.get("GCE_METADATA_ROOT") or _METADATA
        url = f"http://{host}{_TOKEN_PATH}?{urlencode({'scopes': SCOPE})}"
        flavor = [("Metadata-Flavor", "Google")]
        try:
            place(url)
        except Refused:
            raise Refused("what GCE_METADATA_HOST holds is no host") from None
        try:
            answer = await ask(self._client, "GET", url, flavor, connect_seconds=_METADATA_SECONDS)
        except Refused as error:
            nobody = error.__cause__
            if self._at_google or not isinstance(nobody, ConnectFailed | ConnectTimeout):
                raise
            # A pod's is not there yet when the pod starts, and being refused costs no time.
            if not isinstance(nobody, ConnectFailed) or nobody.reason != "refused":
                self._absent_until = now + _ABSENT
            return f"{host} cannot be reached"
        if answer.headers.get("metadata-flavor") != "Google":
            self._absent_until = now + _ABSENT
            return f"what answers at {host} is not Google's"
        self._at_google = True
        if answer.status == 404:
            raise Refused("this machine has no service account")
        if answer.status != 200:
            raise Refused(f"the metadata server answered {answer.status}", passing=passes(answer.status))
        return read_token(json_object(answer.body), "the metadata server", now)


def _good(token: Token, now: float) -> bool:
    return token.expires is None or now < token.expires


def _load(path: Path) -> dict[str, Any] | None:
    """Read a credential file; None where there is none. Blocks. Raises Refused for one that cannot be read."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refused(f"{path} holds no JSON object")
    return value


class _Failure:
    """Why there is no token."""

    def __init__(self, message: str, tried: list[str], *, passing: bool = False) -> None:
        looked = f" Looked at {'; '.join(tried)}." if tried else ""
        self._message = (
            f"{message}{looked} Set GOOGLE_APPLICATION_CREDENTIALS to a credential file, or GOOGLE_OAUTH_ACCESS_TOKEN, "
            "or run `gcloud auth application-default login`, where the gateway runs."
        )
        self._kind = Kind.SENDING if passing else Kind.AUTH

    def error(self) -> ExchangeError:
        """Make an error of it: one for each exchange."""
        return ExchangeError(self._kind, self._message, code="google_credentials")
