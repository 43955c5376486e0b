import json
from collections.abc import AsyncIterator
from hashlib import sha1
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from gateway.errors import Kind
from gateway.providers.auth.aws_sts import endpoint
from gateway.providers.http.client import Client
from tests.support.aws import NOW, Made, at, failure, key, keys, maker, of_sts, signed_by
from tests.support.upstream import Asked, Step, Upstream, reply


@pytest.fixture(name="made")
async def _made(tmp_path: Path) -> AsyncIterator[Made]:
    """Make chains that look for files in a folder of the test's."""
    client = Client()
    yield maker(client, tmp_path)
    await client.close()


async def test_a_web_identity_is_traded_for_a_role(made: Made, upstream: Upstream, tmp_path: Path) -> None:
    """EKS's token is read from its file, anew each time, and STS gives a role for it; nothing is signed."""
    (tmp_path / "token").write_text("s3cr3t token\n")
    upstream.answers(of_sts("web"))
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
    """A profile's role is asked for with its source's credentials, which may be a role's too."""
    upstream.answers(of_sts("b"), of_sts("a"))
    chain = made({"AWS_PROFILE": "a", "AWS_ENDPOINT_URL": upstream.url + "/"}, config=ROLES)
    assert await chain.get(NOW) == key("a", 3600)
    first, second = upstream.asked
    assert signed_by(first, "sts", "AKIAbase", "hidden base")
    assert signed_by(second, "sts", "AKIAb", "hidden b", "token b")
    assert "/us-east-1/sts/" in (first.header("Authorization") or "")
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
async def test_a_roles_source_may_be_near(
    made: Made, upstream: Upstream, profile: str, access_key: str, secret: str
) -> None:
    """A profile may be its own source, where it has keys, and so may the environment."""
    upstream.answers(of_sts("r"))
    environ = {"AWS_ACCESS_KEY_ID": "AKIAenv", "AWS_SECRET_ACCESS_KEY": "hidden env"}
    chain = made(environ | {"AWS_ENDPOINT_URL_STS": upstream.url}, config=ROLES, profile=profile)
    assert await chain.get(NOW) == key("r", 3600)
    assert signed_by(upstream.asked[0], "sts", access_key, secret)


async def test_a_profile_may_have_a_web_identity(made: Made, upstream: Upstream, tmp_path: Path) -> None:
    """A profile's own token file stands for its role."""
    (tmp_path / "token").write_text("t")
    upstream.answers(of_sts("web"))
    config = ROLES.format(token=tmp_path / "token")
    chain = made({"AWS_PROFILE": "web", "AWS_ENDPOINT_URL_STS": upstream.url}, config=config)
    assert await chain.get(NOW) == key("web", 3600)
    assert b"RoleSessionName=gateway-1790000000&WebIdentityToken=t" in upstream.asked[0].body


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"AWS_PROFILE": "nobody"}, "the profile 'nobody' is in neither of"),
        ({"AWS_PROFILE": "round"}, "is its own source_profile"),
        ({"AWS_PROFILE": "lost"}, "its source has no credentials: not in"),
        ({"AWS_PROFILE": "bare"}, "a role_arn, and no source_profile or credential_source"),
        ({"AWS_PROFILE": "code"}, "mfa_serial"),
        ({"AWS_PROFILE": "env"}, "its source has no credentials: AWS_ACCESS_KEY_ID is not set"),
        ({"AWS_ACCESS_KEY_ID": "AKIA"}, "AWS_SECRET_ACCESS_KEY is not"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such"}, "no role for it (AWS_ROLE_ARN)"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such", "AWS_ROLE_ARN": "r"}, "/no/such cannot be read: No such file"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/x"}, "example.com may not be asked without TLS"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "ftp://127.0.0.1/x"}, "no URL to ask"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[::1/x"}, "no URL to ask"),
    ],
)
async def test_what_cannot_work_is_named(made: Made, environ: dict[str, str], said: str) -> None:
    """The error says what is wrong, and what to set."""
    error = await failure(made(environ, config=ROLES))
    assert said in error.message
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
    """The token that `aws sso login` left gives the profile's role, until it expires."""
    given = {"accessKeyId": "AKIAsso", "secretAccessKey": "hidden sso", "sessionToken": "token sso"}
    given["expiration"] = int((NOW + 3600) * 1000)
    upstream.answers(reply({"roleCredentials": given}))
    cache = tmp_path / ".aws" / "sso" / "cache" / f"{sha1(of.encode(), usedforsecurity=False).hexdigest()}.json"
    chain = made({"AWS_PROFILE": profile, "AWS_ENDPOINT_URL_SSO": upstream.url}, config=SSO)
    assert f"run `aws sso login --profile {profile}`" in (await failure(chain)).message
    cache.parent.mkdir(parents=True)
    cache.write_text(json.dumps({"accessToken": "s3cr3t", "expiresAt": at(-1)}))
    assert "has expired; run `aws sso login" in (await failure(chain, NOW + 10)).message
    cache.write_text(json.dumps({"accessToken": "s3cr3t", "expiresAt": at(60).replace("Z", "UTC")}))
    assert await chain.get(NOW + 20) == key("sso", 3600)
    (asked,) = upstream.asked
    assert asked.target == "/federation/credentials?role_name=Read%20Only&account_id=123456789012"
    assert asked.header("x-amz-sso_bearer_token") == "s3cr3t"


async def test_a_login_that_lacks_settings_is_named(made: Made) -> None:
    """What is missing in the profile is listed."""
    error = await failure(made({"AWS_PROFILE": "half"}, config=SSO))
    assert "lacks sso_start_url, sso_region, sso_role_name" in error.message


@pytest.mark.parametrize("by_file", [False, True])
async def test_a_containers_agent_is_asked(made: Made, upstream: Upstream, tmp_path: Path, by_file: bool) -> None:
    """ECS and EKS give credentials for the container's token, which may stand in a file."""
    upstream.answers(reply(keys("pod", at(3600))))
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{upstream.url}/v1/credentials?x=1"}
    (tmp_path / "token").write_text("s3cr3t\n")
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
    ("answers", "said", "kind"),
    [
        ([reply(b"", status="404 Not Found")], "gave no token (404)", Kind.AUTH),
        ([reply(b"t"), reply(b"", status="404 Not Found")], "no such service, or no role", Kind.AUTH),
        ([reply(b"t"), reply(b"")], "no such service, or no role", Kind.AUTH),
        ([reply(b"t"), reply(b"", status="503 Busy")], "service answered 503", Kind.SENDING),
        ([reply(b"t"), reply(b"r"), reply(b"hidden")], "answered with no JSON object", Kind.AUTH),
        ([reply(b"t"), reply(b"r"), reply({"Code": "Failed"})], "gave no AccessKeyId", Kind.AUTH),
    ],
)
async def test_an_instance_without_a_role_is_named(
    made: Made, upstream: Upstream, answers: list[list[Step]], said: str, kind: Kind
) -> None:
    """What the metadata service lacks is told; what may pass may be tried again."""
    upstream.answers(*answers)
    chain = made({"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": upstream.url})
    error = await failure(chain)
    assert said in error.message
    assert error.kind is kind


async def test_a_refusal_of_sts_is_told(made: Made, upstream: Upstream) -> None:
    """STS's own code and message are in the error."""
    upstream.answers(reply(b"<E><Code>AccessDenied</Code><Message>not &quot;you&quot;</Message></E>", "403 Forbidden"))
    chain = made({"AWS_PROFILE": "b", "AWS_ENDPOINT_URL_STS": upstream.url}, config=ROLES)
    assert 'STS refused the role: AccessDenied: not "you"' in (await failure(chain)).message


async def test_a_service_that_is_away_may_be_asked_again(made: Made) -> None:
    """Nobody there is a failure that passes."""
    chain = made({"AWS_PROFILE": "b", "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"}, config=ROLES)
    error = await failure(chain)
    assert "127.0.0.1 gave no answer (ConnectFailed)" in error.message
    assert error.kind is Kind.SENDING


async def test_a_large_answer_is_not_collected(made: Made, upstream: Upstream) -> None:
    """An agent that never stops is left."""
    upstream.answers(reply(bytes(1024 * 1024 + 1)))
    error = await failure(made({"AWS_CONTAINER_CREDENTIALS_FULL_URI": upstream.url}))
    assert "more than 1048576 bytes" in error.message


@pytest.mark.parametrize(
    ("service", "region", "environ", "url"),
    [
        ("bedrock-runtime", "us-east-1", {}, "https://bedrock-runtime.us-east-1.amazonaws.com"),
        ("sts", None, {}, "https://sts.amazonaws.com"),
        ("sts", "cn-north-1", {}, "https://sts.cn-north-1.amazonaws.com.cn"),
        ("sso", "eu-west-1", {}, "https://portal.sso.eu-west-1.amazonaws.com"),
        ("bedrock-runtime", "r", {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "http://a/"}, "http://a"),
        ("sts", "r", {"AWS_ENDPOINT_URL": "http://b"}, "http://b"),
        (
            "sts",
            "r",
            {"AWS_ENDPOINT_URL": "http://b", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "https://sts.r.amazonaws.com",
        ),
    ],
)
def test_services_stand_where_the_environment_says(
    service: str, region: str | None, environ: dict[str, str], url: str
) -> None:
    """A service's URL is AWS's own, or the environment's."""
    assert endpoint(service, region, environ) == url
