"""Signing requests with AWS's and Google's credentials, which are valid for minutes and thus added to each attempt.

I/O is here; the signature itself is pure (`providers.auth.sigv4`).
"""

from collections.abc import Callable, Mapping

from msgspec import structs

from gateway.providers.auth.aws import AwsCredentials, Credential, authorized
from gateway.providers.auth.google import GoogleCredentials
from gateway.providers.auth.sigv4 import Credentials, host_region
from gateway.providers.http.client import Client, Response
from gateway.providers.http.ways_out import DIRECTLY, WaysOut
from gateway.providers.table import Provider
from gateway.proxy.headers import lower
from gateway.proxy.upstream import Request

_DEFAULT_REGION = "us-east-1"


class CloudSigner:
    """Signs the requests of one worker. `clock` returns Unix times; `ways`: the ways out to token services."""

    def __init__(
        self, client: Client, environ: Mapping[str, str], clock: Callable[[], float], ways: WaysOut = DIRECTLY
    ) -> None:
        self._aws = AwsCredentials(environ, ways)
        self._google = GoogleCredentials(client, environ, ways)
        self._region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or _DEFAULT_REGION
        self._clock = clock
        self._credential: Credential | None = None
        self._token: str | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets that were sent last, to be redacted from messages."""
        last = self._credential
        of_aws = (last.secret_key, last.token) if isinstance(last, Credentials) else (last.token,) if last else ()
        return tuple(each for each in (*of_aws, self._token) if each)

    async def signed(self, provider: Provider, dialect: str | None, request: Request) -> Request:
        """Return the request with its authorization. Raises ExchangeError if there are no credentials."""
        if provider.shown(dialect) == "google":
            return await self._with_token(request)
        now = self._clock()
        self._credential = credential = await self._aws.get(now)
        path, _, query = request.target.decode("latin-1").partition("?")
        headers = authorized(
            credential,
            request.method.decode(),
            provider.authority,
            path,
            query,
            list(request.headers),
            request.body,
            region=host_region(provider.origin.host) or self._region,
            now=now,
        )
        return structs.replace(request, headers=tuple(headers))

    async def _with_token(self, request: Request) -> Request:
        """Add Google's token, and the project that is billed."""
        self._token = token = await self._google.get(self._clock())
        headers = [*request.headers, (b"Authorization", b"Bearer " + token.encode())]
        quota = self._google.quota_project
        if quota and not any(name.lower() == b"x-goog-user-project" for name, _ in headers):
            headers.append((b"x-goog-user-project", quota.encode()))
        return structs.replace(request, headers=tuple(headers))

    def refused(self, request: Request, response: Response) -> None:
        """Refresh the credentials of a refused request, if they are still the current ones.

        AWS answers with the same status if they may not use a model: then they are good.
        """
        shown = next((value for name, value in request.headers if name == b"Authorization"), b"").decode("latin-1")
        if response.status == 401 and self._token is not None and self._token in shown:
            self._google.forget(self._token)
        last = self._credential
        if last is None or lower(response.headers).get("x-amzn-errortype", "").startswith("AccessDenied"):
            return
        if (last.access_key if isinstance(last, Credentials) else last.token) in shown:
            self._aws.forget(last)
