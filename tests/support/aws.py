"""AWS credentials for tests: keys as the services return them, and chains that read files of one folder."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from gateway.errors import ExchangeError
from gateway.providers.auth.aws import AwsCredentials
from gateway.providers.auth.sigv4 import Credentials
from tests.support.upstream import Asked, Step, reply

NOW = 4_000_000_000.0  # in the future: botocore compares expiries with the real clock
SECRETS = ("hidden", "wJalrXUtnFEMI", "s3cr3t")
NOWHERE = {"AWS_EC2_METADATA_DISABLED": "true"}

Made = Callable[..., AwsCredentials]


def at(seconds: float) -> str:
    """Format a time, `seconds` after NOW, as AWS does."""
    return datetime.fromtimestamp(NOW + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def keys(name: str, expires: str | None = None) -> dict[str, str]:
    """Return a key as the services do."""
    given = {"AccessKeyId": f"AKIA{name}", "SecretAccessKey": f"hidden {name}", "Token": f"token {name}"}
    return given | ({"Expiration": expires} if expires else {})


def key(name: str, expires: float | None = None) -> Credentials:
    """Return the credentials that such a key is read as."""
    ends = None if expires is None else NOW + expires
    return Credentials(access_key=f"AKIA{name}", secret_key=f"hidden {name}", token=f"token {name}", expires=ends)


def of_sts(name: str, expires: float = 3600, action: str = "AssumeRole") -> list[Step]:
    """Return a response of STS."""
    given = keys(name, at(expires))
    given["SessionToken"] = given.pop("Token")
    inner = "".join(f"<{k}>{v}</{k}>" for k, v in given.items())
    xml = f"<{action}Response><{action}Result><Credentials>{inner}</Credentials></{action}Result></{action}Response>"
    return reply(xml.encode(), content_type="text/xml")


async def failure(chain: AwsCredentials, now: float = NOW) -> ExchangeError:
    """Return the error of a chain without credentials; no secret is in it."""
    with pytest.raises(ExchangeError) as raised:
        await chain.get(now)
    assert not any(secret in str(raised.value) for secret in SECRETS)
    assert raised.value.code == "aws_credentials"
    return raised.value


def maker(home: Path) -> Made:
    """Return a maker of chains that read the files in `home`, without instance metadata unless enabled."""

    def make(environ: dict[str, str] | None = None, *, config: str = "", credentials: str = "") -> AwsCredentials:
        folder = home / ".aws"
        folder.mkdir(exist_ok=True)
        (folder / "config").write_text(config)
        (folder / "credentials").write_text(credentials)
        return AwsCredentials(NOWHERE | {"HOME": str(home)} | (environ or {}))

    return make


def signed_by(asked: Asked, service: str, access_key: str, secret: str, token: str | None = None) -> bool:
    """Whether botocore would have signed a request so."""
    authorization = asked.header("Authorization") or ""
    scope = authorization.partition("Credential=")[2].partition(",")[0].split("/")
    path, _, query = asked.target.partition("?")
    request = AWSRequest(asked.method, f"http://{asked.header('Host')}{path}?{query}", data=asked.body)
    for name in authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";"):
        request.headers[name] = asked.header(name)
    request.context["timestamp"] = asked.header("X-Amz-Date")
    signer = SigV4Auth(BotocoreCredentials(access_key, secret, token), service, scope[2])
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert asked.header("X-Amz-Security-Token") == token
    return scope[0] == access_key and authorization.endswith(f"Signature={signature}")


def seconds(stamp: str | None) -> float:
    """Return the Unix time of an X-Amz-Date."""
    return datetime.strptime(stamp or "", SIGV4_TIMESTAMP).replace(tzinfo=UTC).timestamp()
