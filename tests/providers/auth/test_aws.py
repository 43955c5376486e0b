import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest

from gateway.errors import Kind
from gateway.providers.auth.aws import Bearer, authorized, with_region
from gateway.providers.auth.sigv4 import Credentials
from tests.support.aws import NOW, Made, at, failure, key, keys, maker
from tests.support.upstream import Step, Upstream, reply


@pytest.fixture(name="made")
def _made(tmp_path: Path) -> Made:
    """Return a maker of chains that read files of the test's folder."""
    return maker(tmp_path)


async def test_a_bedrock_key_is_sent_as_it_is(made: Made) -> None:
    """AWS_BEARER_TOKEN_BEDROCK precedes all other sources, and nothing is signed."""
    chain = made({"AWS_BEARER_TOKEN_BEDROCK": "s3cr3t", "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x"})
    found = await chain.get(NOW)
    assert found == Bearer("s3cr3t")
    assert "s3cr3t" not in f"{found!r} {chain!r}"
    sent = authorized(found, "POST", "h", "/", "", [(b"Authorization", b"old"), (b"A", b"b")], b"", region="r", now=NOW)
    assert sent == [(b"A", b"b"), (b"Authorization", b"Bearer s3cr3t")]


async def test_keys_are_signed_with(made: Made) -> None:
    """An access key signs requests to Bedrock."""
    chain = made({"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "x", "AWS_SESSION_TOKEN": "t"})
    found = await chain.get(NOW)
    sent = dict(authorized(found, "POST", "h", "/", "", [], b"", region="eu-west-1", now=1_790_000_000.0))
    assert b"Credential=AKIA1/20260921/eu-west-1/bedrock/aws4_request" in sent[b"Authorization"]
    assert sent[b"X-Amz-Security-Token"] == b"t"


CONFIG = """
[default]
region = eu-central-1
aws_access_key_id = AKIAconfig
aws_secret_access_key = hidden config
s3 =
  max_concurrent_requests = 2
[profile work]
region=us-west-2
aws_access_key_id=AKIAwork
aws_secret_access_key=hidden%20work
[profile quoted name]
aws_access_key_id = AKIAquoted
aws_secret_access_key = hidden quoted
[preview]
x = 1
"""
SHARED = """
[default]
aws_access_key_id = AKIAshared
aws_secret_access_key = hidden shared
aws_session_token = token shared
[both]
aws_access_key_id = AKIAboth
aws_secret_access_key = hidden both
"""


@pytest.mark.parametrize(
    ("environ", "config", "credentials"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAenv", "AWS_SECRET_ACCESS_KEY": "hidden env"}, CONFIG, SHARED),
        ({"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"}, "", ""),
        ({}, CONFIG, SHARED),
        ({}, CONFIG, ""),
        ({}, "", SHARED),
        ({"AWS_PROFILE": "work"}, CONFIG, SHARED),
        ({"AWS_DEFAULT_PROFILE": "work"}, CONFIG, SHARED),
        ({"AWS_PROFILE": "both"}, CONFIG, SHARED),
        ({"AWS_PROFILE": "both", "AWS_DEFAULT_REGION": "ap-south-1"}, CONFIG + "[profile both]\nregion = x\n", SHARED),
        ({"AWS_PROFILE": "quoted name"}, CONFIG.replace("profile quoted name", "profile 'quoted name'"), ""),
    ],
)
async def test_environment_and_files_are_read_as_botocore_reads_them(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], config: str, credentials: str
) -> None:
    """A profile has the same key and region for botocore and for the gateway."""
    chain = made(environ, config=config, credentials=credentials)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (environ | {"HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / ".aws" / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / ".aws" / "credentials"))
    session = await asyncio.to_thread(botocore.session.Session)
    theirs = await asyncio.to_thread(session.get_credentials)
    found = await chain.get(NOW)
    assert isinstance(found, Credentials)
    assert (found.access_key, found.secret_key, found.token) == (theirs.access_key, theirs.secret_key, theirs.token)
    region = await asyncio.to_thread(with_region, chain._environ)
    assert (region.get("AWS_REGION") or region.get("AWS_DEFAULT_REGION")) == session.get_config_variable("region")


async def test_files_may_stand_elsewhere(made: Made, tmp_path: Path) -> None:
    """AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name them, `~` is the home folder."""
    (tmp_path / "c").write_text("[default]\nregion = r\n")
    (tmp_path / "k").write_text(SHARED)
    chain = made({"AWS_CONFIG_FILE": "~/c", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "k")}, config=CONFIG)
    assert await chain.get(NOW) == Credentials(
        access_key="AKIAshared", secret_key="hidden shared", token="token shared"
    )
    assert (await asyncio.to_thread(with_region, chain._environ))["AWS_REGION"] == "r"


def test_a_broken_file_has_no_region(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    """A configuration file that cannot be parsed is named in a warning, and the environment stays as it is."""
    environ = made(config="[default\nhidden")._environ
    assert with_region(environ) == environ
    assert ".aws/config is no AWS configuration, see line 1" in caplog.text
    assert "hidden" not in caplog.text


PROCESS = f"""[profile p]
credential_process = {sys.executable} "{{script}}" 'one argument'
"""


def process(tmp_path: Path, code: str) -> str:
    """Write a program and the profile that names it."""
    script = tmp_path / "give keys.py"
    script.write_text(code)
    return PROCESS.format(script=script)


async def test_a_process_gives_credentials(made: Made, tmp_path: Path) -> None:
    """A profile's credential_process is run with its arguments in the gateway's environment, and its output is read."""
    given = {"Version": 1, **keys("process", at(3600))}
    given["SessionToken"] = given.pop("Token")
    code = "import os, sys; assert (sys.argv[1:], os.environ['MINE']) == (['one argument'], 'x')\n"
    code += f"print({json.dumps(given)!r})"
    chain = made({"AWS_PROFILE": "p", "MINE": "x"}, config=process(tmp_path, code))
    assert await chain.get(NOW) == key("process", 3600)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit('hidden')", "credential_process failed, or its output has no credentials"),
        ("print('hidden {')", "botocore failed on the configuration (JSONDecodeError)"),
        ("print('[]')", "botocore failed on the configuration (AttributeError)"),
        ("print('{\"Version\": 2}')", "credential_process failed, or its output has no credentials"),
        (
            'print(\'{"Version": 1, "AccessKeyId": "A"}\')',
            "credential_process failed, or its output has no credentials",
        ),
        (
            'print(\'{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "hidden", "Expiration": "soon"}\')',
            "botocore failed on the configuration (ParserError)",
        ),
        (
            'print(\'{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "Expiration": "2020-01-01T00:00Z"}\')',
            "the refreshed credentials are still expired",
        ),
    ],
)
async def test_a_process_that_gives_none_is_named(made: Made, tmp_path: Path, code: str, reason: str) -> None:
    """The error names the credential_process or botocore's error, and does not repeat the output."""
    error = await failure(made({"AWS_PROFILE": "p"}, config=process(tmp_path, code)))
    assert reason in error.message
    assert error.kind is Kind.AUTH


async def test_a_process_that_is_not_there_is_named(made: Made) -> None:
    """A command that cannot be run has another error than one that fails."""
    error = await failure(made(config="[default]\ncredential_process = /no/such/program\n"))
    assert "/no/such/program cannot be read: No such file or directory" in error.message


async def test_without_credentials_every_source_is_named(made: Made) -> None:
    """Without any credentials the error lists every source."""
    error = await failure(made(config="[default]\nregion = r\n"))
    assert error.message.startswith("No AWS credentials were found: AWS_ACCESS_KEY_ID is not set")
    for place in ("web identity", "profile 'default'", "container", "instance metadata", ".aws/credentials"):
        assert place in error.message


@pytest.mark.parametrize("text", ["no = section", "[default\nx", "[default]\nhidden"])
async def test_a_file_that_is_none_is_named(made: Made, text: str) -> None:
    """A broken file is named without its content."""
    error = await failure(made(config=text))
    assert ".aws/config is no AWS configuration" in error.message


async def test_a_file_that_is_no_text_is_named(made: Made, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are reported with the file's path."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    error = await failure(made({"AWS_CONFIG_FILE": str(tmp_path / "binary")}))
    assert "binary is no AWS configuration" in error.message


async def test_credentials_are_kept_until_they_have_to_be_refreshed(made: Made, upstream: Upstream) -> None:
    """One request serves all exchanges until ten minutes before the expiry."""
    upstream.answers(reply(keys("1", at(3600))), reply(keys("2", at(7200))))
    chain = made({"AWS_CONTAINER_CREDENTIALS_FULL_URI": upstream.url})
    assert {await chain.get(NOW + s) for s in (0, 1, 2999)} == {key("1", 3600)}
    assert len(upstream.asked) == 1
    assert await chain.get(NOW + 3000) == key("2", 7200)


async def test_short_credentials_are_refreshed_at_half_their_life(made: Made, upstream: Upstream) -> None:
    """Credentials valid for less than twenty minutes are refreshed at half of their life."""
    upstream.answers(reply(keys("1", at(300))), reply(keys("2", at(600))))
    chain = made({"AWS_CONTAINER_CREDENTIALS_FULL_URI": upstream.url})
    assert [await chain.get(NOW + s) for s in (0, 149, 150)] == [key("1", 300), key("1", 300), key("2", 600)]


async def test_one_refresh_serves_all_that_wait(made: Made, upstream: Upstream) -> None:
    """Concurrent exchanges share one request; those with good credentials do not wait for the new ones."""
    upstream.answers([0.05, *reply(keys("1", at(3600)))])
    chain = made({"AWS_CONTAINER_CREDENTIALS_FULL_URI": upstream.url})
    assert set(await asyncio.gather(*[chain.get(NOW) for _ in range(5)])) == {key("1", 3600)}
    assert len(upstream.asked) == 1

    came, answering = asyncio.Event(), asyncio.Event()

    def held_back() -> Iterator[Step]:
        came.set()
        while not answering.is_set():
            yield 0.005
        yield from reply(keys("2", at(7200)))

    upstream.answer = lambda _asked: held_back()
    refreshing = asyncio.ensure_future(chain.get(NOW + 3100))
    await came.wait()
    assert await chain.get(NOW + 3100) == key("1", 3600)
    assert not refreshing.done()
    answering.set()
    assert await refreshing == key("2", 7200)


async def test_a_failed_refresh_is_no_failure_while_the_old_are_good(made: Made, upstream: Upstream) -> None:
    """Credentials are used until they expire; a failed refresh is repeated after five seconds."""
    upstream.answers(reply(keys("1", at(3600))), reply(b"", status="500 Broken"))
    chain = made({"AWS_CONTAINER_CREDENTIALS_FULL_URI": upstream.url})
    assert [await chain.get(NOW + s) for s in (0, 3100, 3104, 3106, 3599)] == [key("1", 3600)] * 5
    assert len(upstream.asked) == 4
    assert (await failure(chain, NOW + 3700)).kind is Kind.SENDING


async def test_a_failure_is_remembered_for_some_seconds(made: Made, upstream: Upstream) -> None:
    """Concurrent exchanges do not each wait for a service that fails."""
    upstream.answers(reply(b"", status="500 Broken"), reply(keys("1", at(3600))))
    chain = made({"AWS_CONTAINER_CREDENTIALS_FULL_URI": upstream.url})
    errors = [await failure(chain, NOW + s) for s in (0, 1, 4.9)]
    assert len(upstream.asked) == 1
    assert len({id(error) for error in errors}) == 3
    assert await chain.get(NOW + 5) == key("1", 3600)


async def test_refused_credentials_are_looked_for_again(made: Made, tmp_path: Path) -> None:
    """A changed credentials file is used at once after a refusal, and after five minutes without one."""
    chain = made(credentials=SHARED)
    first = await chain.get(NOW)
    (tmp_path / ".aws" / "credentials").write_text(SHARED.replace("AKIAshared", "AKIAnew"))
    assert await chain.get(NOW + 1) == first
    chain.forget(first)
    second = await chain.get(NOW + 2)
    assert isinstance(second, Credentials)
    assert second.access_key == "AKIAnew"
    chain.forget(first)
    (tmp_path / ".aws" / "credentials").write_text(SHARED)
    assert await chain.get(NOW + 3) == second
    assert await chain.get(NOW + 302) == first
