import asyncio
import json
from hashlib import sha1
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from botocore import UNSIGNED
from botocore.config import Config

from gateway.errors import Kind
from gateway.providers.auth import aws_chain
from tests.support.aws import NOW, Made, at, failure, key, keys, maker, of_sts, signed_by
from tests.support.upstream import Asked, Step, Upstream, reply


@pytest.fixture(name="made")
def _made(tmp_path: Path) -> Made:
    """Return a maker of chains that read files of the test's folder."""
    return maker(tmp_path)


async def test_a_web_identity_is_traded_for_a_role(made: Made, upstream: Upstream, tmp_path: Path) -> None:
    """EKS's token is read from its file and exchanged for a role by STS; nothing is signed."""
    (tmp_path / "token").write_text("s3cr3t token")
    upstream.answers(of_sts("web", action="AssumeRoleWithWebIdentity"))
    chain = made(
        {
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r",
            "AWS_ROLE_SESSION_NAME": "me",
            "AWS_ENDPOINT_URL_STS": upstream.url,
        }
    )
    assert await chain.get(NOW) == key("web", 3600)
    (asked,) = upstream.asked
    assert (asked.method, asked.target, asked.header("Authorization")) == ("POST", "/", None)
    assert parse_qs(asked.body.decode()) == {
        "Action": ["AssumeRoleWithWebIdentity"],
        "Version": ["2011-06-15"],
        "RoleArn": ["arn:aws:iam::123456789012:role/r"],
        "RoleSessionName": ["me"],
        "WebIdentityToken": ["s3cr3t token"],
    }


ROLES = """
[profile a]
role_arn = arn:aws:iam::123456789012:role/a
source_profile = b
external_id = outside
duration_seconds = 900
role_session_name = me
region = eu-west-1
[profile b]
role_arn = arn:aws:iam::123456789012:role/b
source_profile = base
[profile base]
aws_access_key_id = AKIAbase
aws_secret_access_key = hidden base
[profile self]
role_arn = arn:aws:iam::123456789012:role/s
source_profile = self
aws_access_key_id = AKIAself
aws_secret_access_key = hidden self
[profile env]
role_arn = arn:aws:iam::123456789012:role/e
credential_source = Environment
[profile web]
role_arn = arn:aws:iam::123456789012:role/w
web_identity_token_file = {token}
[profile round]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = trip
[profile trip]
role_arn = arn:aws:iam::123456789012:role/y
source_profile = round
[profile lost]
role_arn = arn:aws:iam::123456789012:role/z
source_profile = nobody
[profile bare]
role_arn = arn:aws:iam::123456789012:role/z
[profile code]
role_arn = arn:aws:iam::123456789012:role/z
source_profile = base
mfa_serial = arn:aws:iam::123456789012:mfa/me
"""


async def test_roles_are_assumed_one_by_another(made: Made, upstream: Upstream) -> None:
    """A profile's role is assumed with its source's credentials, which may be those of another role."""
    upstream.answers(of_sts("b"), of_sts("a"))
    chain = made({"AWS_PROFILE": "a", "AWS_ENDPOINT_URL": upstream.url + "/"}, config=ROLES)
    assert await chain.get(NOW) == key("a", 3600)
    first, second = upstream.asked
    assert signed_by(first, "sts", "AKIAbase", "hidden base")
    assert signed_by(second, "sts", "AKIAb", "hidden b", "token b")
    assert "/eu-west-1/sts/" in (first.header("Authorization") or "")
    assert "/eu-west-1/sts/" in (second.header("Authorization") or "")
    assert parse_qs(second.body.decode()) == {
        "Action": ["AssumeRole"],
        "Version": ["2011-06-15"],
        "RoleArn": ["arn:aws:iam::123456789012:role/a"],
        "RoleSessionName": ["me"],
        "ExternalId": ["outside"],
        "DurationSeconds": ["900"],
    }


@pytest.mark.parametrize(
    ("profile", "access_key", "secret"), [("self", "AKIAself", "hidden self"), ("env", "AKIAenv", "hidden env")]
)
async def test_a_roles_source_may_be_its_profile_or_the_environment(
    made: Made, upstream: Upstream, profile: str, access_key: str, secret: str
) -> None:
    """A profile may be its own source if it has keys; `credential_source = Environment` uses the environment's."""
    upstream.answers(of_sts("r"))
    environ = {"AWS_ACCESS_KEY_ID": "AKIAenv", "AWS_SECRET_ACCESS_KEY": "hidden env", "AWS_PROFILE": profile}
    chain = made(environ | {"AWS_ENDPOINT_URL_STS": upstream.url}, config=ROLES)
    assert await asyncio.to_thread(aws_chain.find, chain._environ) == key("r", 3600)
    assert signed_by(upstream.asked[0], "sts", access_key, secret)


async def test_a_profile_may_have_a_web_identity(made: Made, upstream: Upstream, tmp_path: Path) -> None:
    """A profile's own token file is exchanged for its role."""
    (tmp_path / "token").write_text("token")
    upstream.answers(of_sts("web", action="AssumeRoleWithWebIdentity"))
    config = ROLES.format(token=tmp_path / "token")
    chain = made({"AWS_PROFILE": "web", "AWS_ENDPOINT_URL_STS": upstream.url}, config=config)
    assert await chain.get(NOW) == key("web", 3600)
    assert b"WebIdentityToken=token" in upstream.asked[0].body


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found"),
        ({"AWS_PROFILE": "round"}, "Infinite loop in credential configuration detected"),
        ({"AWS_PROFILE": "lost"}, 'The source_profile "nobody" referenced in the profile "lost" does not exist'),
        ({"AWS_PROFILE": "bare"}, "missing: source_profile or credential_source"),
        ({"AWS_PROFILE": "code"}, "mfa_serial"),
        ({"AWS_PROFILE": "env"}, "No credentials found in credential_source"),
        ({"AWS_ACCESS_KEY_ID": "AKIA"}, "AWS_SECRET_ACCESS_KEY is not"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such"}, "the AWS_ROLE_ARN env var"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such", "AWS_ROLE_ARN": "r"}, "/no/such cannot be read: No such file"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/x"}, "Unsupported host 'example.com'"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "ftp://127.0.0.1/x"}, "Not supported URL scheme ftp"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[::1/x"}, "botocore failed on the configuration (ValueError)"),
    ],
)
async def test_what_cannot_work_is_named(made: Made, environ: dict[str, str], reason: str) -> None:
    """The error has botocore's reason and the remedy."""
    error = await failure(made(environ, config=ROLES))
    assert reason in error.message
    assert "Set AWS_BEARER_TOKEN_BEDROCK" in error.message
    assert (error.kind, error.status) == (Kind.AUTH, 401)


SSO = """
[profile session]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Read Only
[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://corp.example.com/start
[profile plain]
sso_region = eu-west-1
sso_start_url = https://corp.example.com/start
sso_account_id = 123456789012
sso_role_name = Read Only
[profile half]
sso_account_id = 1
"""


@pytest.mark.parametrize(("profile", "of"), [("session", "corp"), ("plain", "https://corp.example.com/start")])
async def test_a_login_is_traded_for_a_role(
    made: Made, upstream: Upstream, tmp_path: Path, profile: str, of: str
) -> None:
    """The token of `aws sso login` is exchanged for the profile's role until it expires."""
    given = {"accessKeyId": "AKIAsso", "secretAccessKey": "hidden sso", "sessionToken": "token sso"}
    given["expiration"] = int((NOW + 3600) * 1000)
    upstream.answers(reply({"roleCredentials": given}))
    cache = tmp_path / ".aws" / "sso" / "cache" / f"{sha1(of.encode(), usedforsecurity=False).hexdigest()}.json"
    chain = made({"AWS_PROFILE": profile, "AWS_ENDPOINT_URL_SSO": upstream.url}, config=SSO)
    assert f"run `aws sso login --profile {profile}`" in (await failure(chain)).message
    cache.parent.mkdir(parents=True)
    cache.write_text(json.dumps({"accessToken": "s3cr3t", "expiresAt": "2020-01-01T00:00:00Z"}))
    error = await failure(chain, NOW + 10)
    assert "has expired" in error.message
    assert f"run `aws sso login --profile {profile}`" in error.message
    cache.write_text(json.dumps({"accessToken": "s3cr3t", "expiresAt": at(60).replace("Z", "UTC")}))
    assert await chain.get(NOW + 20) == key("sso", 3600)
    (asked,) = upstream.asked
    assert asked.target == "/federation/credentials?role_name=Read%20Only&account_id=123456789012"
    assert asked.header("x-amz-sso_bearer_token") == "s3cr3t"


async def test_a_login_that_lacks_settings_is_named(made: Made) -> None:
    """The missing settings of an SSO profile are listed."""
    error = await failure(made({"AWS_PROFILE": "half"}, config=SSO))
    assert "missing required configuration: sso_role_name, sso_start_url, sso_region" in error.message


@pytest.mark.parametrize("by_file", [False, True])
async def test_a_containers_agent_is_asked(made: Made, upstream: Upstream, tmp_path: Path, by_file: bool) -> None:
    """ECS and EKS give credentials for the container's token, which may be in a file."""
    upstream.answers(reply(keys("pod", at(3600))))
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{upstream.url}/v1/credentials?x=1"}
    (tmp_path / "token").write_text("s3cr3t")
    environ |= (
        {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"), "AWS_CONTAINER_AUTHORIZATION_TOKEN": "no"}
        if by_file
        else {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "s3cr3t"}
    )
    assert await made(environ).get(NOW) == key("pod", 3600)
    (asked,) = upstream.asked
    assert (asked.method, asked.target) == ("GET", "/v1/credentials?x=1")
    assert asked.header("Authorization") == "s3cr3t"


def instance(asked: Asked) -> list[Step]:
    """Answer as an instance's metadata service of version 2."""
    role = "/latest/meta-data/iam/security-credentials/"
    if (asked.method, asked.target) == ("PUT", "/latest/api/token"):
        assert asked.header("X-aws-ec2-metadata-token-ttl-seconds") == "21600"
        return reply(b"session")
    assert asked.header("X-aws-ec2-metadata-token") == "session"
    return reply(b"my-role\n") if asked.target == role else reply({"Code": "Success", **keys("ec2", at(3600))})


async def test_an_instances_metadata_is_asked(made: Made, upstream: Upstream) -> None:
    """EC2 gives its role's credentials for a session's token."""
    upstream.answer = instance
    environ = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": upstream.url + "/"}
    assert await made(environ).get(NOW) == key("ec2", 3600)
    assert upstream.asked[2].target == "/latest/meta-data/iam/security-credentials/my-role"


@pytest.mark.parametrize(
    "answers",
    [
        [reply(b"", status="404 Not Found")],
        [reply(b"t"), reply(b"", status="404 Not Found")],
        [reply(b"t"), reply(b"")],
        [reply(b"t"), reply(b"", status="503 Busy")],
        [reply(b"t"), reply(b"r"), reply(b"hidden")],
        [reply(b"t"), reply(b"r"), reply({"Code": "Failed"})],
    ],
)
async def test_an_instance_without_a_role_has_no_credentials(
    made: Made, upstream: Upstream, answers: list[list[Step]]
) -> None:
    """If the metadata service fails, the error names it among the sources without credentials."""
    upstream.answers(*answers)
    chain = made({"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": upstream.url})
    error = await failure(chain)
    assert "nor the instance metadata service gives any" in error.message
    assert error.kind is Kind.AUTH


@pytest.mark.parametrize(
    ("status", "kind"),
    [("400 Bad", Kind.AUTH), ("403 No", Kind.AUTH), ("429 Slow", Kind.SENDING), ("503 Busy", Kind.SENDING)],
)
async def test_a_refusal_of_a_containers_agent_is_reported(
    made: Made, upstream: Upstream, status: str, kind: Kind
) -> None:
    """The status is in the error and the body is not; a failure of the agent may be retried."""
    upstream.answers(reply(b"hidden", status=status))
    error = await failure(made({"AWS_CONTAINER_CREDENTIALS_FULL_URI": upstream.url}))
    assert f"Received non 200 response {status[:3]}" in error.message
    assert error.kind is kind


@pytest.mark.parametrize(("status", "kind"), [("403 Forbidden", Kind.AUTH), ("503 Busy", Kind.SENDING)])
async def test_a_refusal_of_sts_is_reported(made: Made, upstream: Upstream, status: str, kind: Kind) -> None:
    """STS's own code and message are in the error; a failure of the service may be retried."""
    refusal = b"<Error><Code>AccessDenied</Code><Message>not &quot;you&quot;.</Message></Error>"
    upstream.answers(reply(b"<ErrorResponse>" + refusal + b"</ErrorResponse>", status))
    chain = made({"AWS_PROFILE": "b", "AWS_ENDPOINT_URL_STS": upstream.url}, config=ROLES)
    error = await failure(chain)
    assert 'AssumeRole was refused, AccessDenied: not "you". Set' in error.message
    assert error.kind is kind
    assert len(upstream.asked) == 1


async def test_a_service_that_is_away_may_be_asked_again(made: Made) -> None:
    """A refused connection is a retryable failure."""
    chain = made({"AWS_PROFILE": "b", "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"}, config=ROLES)
    error = await failure(chain)
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9/"' in error.message
    assert error.kind is Kind.SENDING


@pytest.mark.parametrize(
    ("service", "region", "environ", "url"),
    [
        ("sts", None, {}, "https://sts.us-east-1.amazonaws.com"),
        ("sts", None, {"AWS_DEFAULT_REGION": "cn-north-1"}, "https://sts.cn-north-1.amazonaws.com.cn"),
        ("sts", None, {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "r"}, "https://sts.eu-west-1.amazonaws.com"),
        ("sso", "eu-west-1", {"AWS_REGION": "us-west-2"}, "https://portal.sso.eu-west-1.amazonaws.com"),
        ("sts", None, {"AWS_ENDPOINT_URL_STS": "http://a", "AWS_ENDPOINT_URL": "http://b"}, "http://a"),
        ("sts", None, {"AWS_ENDPOINT_URL": "http://b"}, "http://b"),
        (
            "sts",
            None,
            {"AWS_ENDPOINT_URL": "http://b", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "https://sts.us-east-1.amazonaws.com",
        ),
    ],
)
def test_services_are_called_at_the_environments_url(
    tmp_path: Path, service: str, region: str | None, environ: dict[str, str], url: str
) -> None:
    """A service's URL is AWS's own of the region, or the environment's; IAM Identity Center has its own region."""
    session = aws_chain._Session({"HOME": str(tmp_path)} | environ)
    client = session.create_client(service, config=Config(region_name=region, signature_version=UNSIGNED))
    assert client.meta.endpoint_url == url
    client.close()
