"""What shows who asks and is good for minutes only, so that it is added when a request is sent: AWS's and Google's.

Effects are here, the signature itself is `providers.sigv4`, pure.
"""

import re
from collections.abc import Callable, Mapping

from msgspec import structs

from gateway.providers.auth.aws import AwsCredentials, Credential, authorized
from gateway.providers.auth.google import GoogleCredentials
from gateway.providers.auth.sigv4 import Credentials
from gateway.providers.http.client import Client, Response
from gateway.providers.table import Provider
from gateway.proxy.headers import lower
from gateway.proxy.upstream import Request

_DEFAULT_REGION = "us-east-1"
# A host of AWS's says its region, which a signature must agree with; that of a private endpoint has one too.
_REGION = re.compile(r"(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.(?:vpce\.|api\.)?(?:amazonaws\.com|aws$)")


class CloudSigner:
    """Shows one worker's requests to the clouds. `clock` gives Unix times."""

    def __init__(self, client: Client, environ: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._aws = AwsCredentials(environ)
        self._google = GoogleCredentials(client, environ)
        self._region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or _DEFAULT_REGION
        self._clock = clock
        self._credential: Credential | None = None
        self._token: str | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What was shown last, so that no text of ours repeats it."""
        kept = self._credential
        of_aws = (kept.secret_key, kept.token) if isinstance(kept, Credentials) else (kept.token,) if kept else ()
        return tuple(each for each in (*of_aws, self._token) if each)

    async def signed(self, provider: Provider, dialect: str | None, request: Request) -> Request:
        """Return the request with what shows who asks. Raises ExchangeError where nothing does."""
        if provider.shown(dialect) == "google":
            return await self._with_token(request)
        now = self._clock()
        self._credential = credential = await self._aws.get(now)
        path, _, query = request.target.decode("latin-1").partition("?")
        named = _REGION.search(provider.origin.host)
        headers = authorized(
            credential,
            request.method.decode(),
            provider.authority,
            path,
            query,
            list(request.headers),
            request.body,
            region=named[1] if named is not None else self._region,
            now=now,
        )
        return structs.replace(request, headers=tuple(headers))

    async def _with_token(self, request: Request) -> Request:
        """Add Google's token."""
        self._token = token = await self._google.get(self._clock())
        headers = [*request.headers, (b"Authorization", b"Bearer " + token.encode())]
        quota = self._google.quota_project
        if quota and not any(name.lower() == b"x-goog-user-project" for name, _ in headers):
            headers.append((b"x-goog-user-project", quota.encode()))
        return structs.replace(request, headers=tuple(headers))

    def refused(self, request: Request, response: Response) -> None:
        """Look for credentials anew where those that a request was sent with are not taken any more.

        Who may not use a model is told so by AWS with the same status: then they are good.
        """
        shown = next((value for name, value in request.headers if name == b"Authorization"), b"").decode("latin-1")
        if response.status == 401 and self._token is not None and self._token in shown:
            self._google.forget(self._token)
        kept = self._credential
        if kept is None or lower(response.headers).get("x-amzn-errortype", "").startswith("AccessDenied"):
            return
        if (kept.access_key if isinstance(kept, Credentials) else kept.token) in shown:
            self._aws.forget(kept)
