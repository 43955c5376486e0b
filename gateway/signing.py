"""Requests that are signed when they are sent, since what shows who asks is good for minutes: AWS's.

Effects are here, the signature itself is `providers.sigv4`, pure.
"""

from collections.abc import Callable, Mapping

from msgspec import structs

from gateway.providers.aws_credentials import AwsCredentials, authorized
from gateway.providers.table import Provider
from gateway.upstream import Request
from gateway.wire import Client

_DEFAULT_REGION = "us-east-1"


class AwsSigner:
    """Signs for one worker. `clock` gives Unix times."""

    def __init__(self, client: Client, environ: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._aws = AwsCredentials(client, environ)
        self._region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or _DEFAULT_REGION
        self._clock = clock

    async def signed(self, provider: Provider, request: Request) -> Request:
        """Return the request with what shows who asks. Raises ExchangeError where nothing does."""
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
