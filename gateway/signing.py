"""What shows who asks and is good for minutes only, so that it is added when a request is sent: AWS's and Google's.

Effects are here, the signature itself is `providers.sigv4`, pure.
"""

from collections.abc import Callable, Mapping

from msgspec import structs

from gateway.providers.aws_credentials import AwsCredentials, authorized
from gateway.providers.google_credentials import GoogleCredentials
from gateway.providers.table import KEY_HEADERS, Provider
from gateway.upstream import Request
from gateway.wire import Client

_DEFAULT_REGION = "us-east-1"


class CloudSigner:
    """Shows one worker's requests to the clouds. `clock` gives Unix times."""

    def __init__(self, client: Client, environ: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._aws = AwsCredentials(client, environ)
        self._google = GoogleCredentials(client, environ)
        self._region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or _DEFAULT_REGION
        self._clock = clock

    async def signed(self, provider: Provider, dialect: str | None, request: Request) -> Request:
        """Return the request with what shows who asks. Raises ExchangeError where nothing does."""
        if provider.shown(dialect) == "google":
            return await self._with_token(request)
        now = self._clock()
        credential = await self._aws.get(now)
        path, _, query = request.target.decode("latin-1").partition("?")
        headers = authorized(
            credential,
            request.method.decode(),
            provider.authority,
            path,
            query,
            list(request.headers),
            request.body,
            region=self._region,
            now=now,
        )
        return structs.replace(request, headers=tuple(headers))

    async def _with_token(self, request: Request) -> Request:
        """Add Google's token, where the client has brought nothing of its own."""
        names = {name.lower() for name, _ in request.headers}
        if names & KEY_HEADERS:
            return request
        token = await self._google.get(self._clock())
        headers = [*request.headers, (b"Authorization", b"Bearer " + token.encode())]
        quota = self._google.quota_project
        if quota and b"x-goog-user-project" not in names:
            headers.append((b"x-goog-user-project", quota.encode()))
        return structs.replace(request, headers=tuple(headers))
