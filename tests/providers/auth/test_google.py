import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import google.auth
import pytest

from gateway.errors import Kind
from gateway.providers.auth.google import GoogleCredentials
from gateway.providers.http.client import Client
from tests.support.google import (
    GOOGLES,
    NOW,
    SCOPE,
    Json,
    Made,
    account,
    external,
    failure,
    form,
    granted,
    maker,
    pem,
    user,
)
from tests.support.upstream import Step, Upstream, reply


@pytest.fixture(name="made")
async def _made(tmp_path: Path) -> AsyncIterator[Made]:
    """Make chains that look for files in a folder of the test's."""
    client = Client()
    yield maker(client, tmp_path)
    await client.close()


def at(upstream: Upstream) -> dict[str, str]:
    """Return an environment whose metadata server is `upstream`."""
    return {"NO_GCE_CHECK": "", "GCE_METADATA_HOST": urlsplit(upstream.url).netloc}


async def test_the_environments_token_stands_first(made: Made, upstream: Upstream) -> None:
    """A token of the environment precedes all files."""
    chain = made(
        {"GOOGLE_OAUTH_ACCESS_TOKEN": " hidden.env\n", "CLOUDSDK_AUTH_ACCESS_TOKEN": "hidden.sdk"},
        named="hidden, and no JSON",
    )
    assert await chain.get(NOW) == "hidden.env"
    assert repr(chain) == "<GoogleCredentials <Token>>"
    assert await made({"CLOUDSDK_AUTH_ACCESS_TOKEN": "hidden.sdk"}, named="no").get(NOW) == "hidden.sdk"
    assert not upstream.asked


@pytest.mark.parametrize("token", ["hidden token", "hidden\ntoken", "hiddenü"])
async def test_an_invalid_token_is_refused(made: Made, token: str) -> None:
    """A value that cannot be sent in a header is refused, naming its variable."""
    error = await failure(made({"CLOUDSDK_AUTH_ACCESS_TOKEN": token}))
    assert "the value of CLOUDSDK_AUTH_ACCESS_TOKEN is no access token" in error.message


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("gcloud", [False, True])
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_files_are_found_as_google_auth_finds_them(
    made: Made,
    upstream: Upstream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: bool,
    gcloud: bool,
    elsewhere: bool,
) -> None:
    """The same environment and folder give google-auth and the gateway the same account, or none."""
    upstream.answers(granted())
    environ = {"CLOUDSDK_CONFIG": str(tmp_path / "sdk")} if elsewhere else {}
    if elsewhere:
        (tmp_path / "sdk").mkdir()
    chain = made(
        environ,
        named=account(upstream.url, client_email="named@p") if named else None,
        gcloud=account(upstream.url, client_email="gcloud@p") if gcloud else None,
    )
    if elsewhere and gcloud:
        (tmp_path / ".config/gcloud/application_default_credentials.json").rename(
            tmp_path / "sdk/application_default_credentials.json"
        )
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "CLOUDSDK_", "GCE_"))]:
        monkeypatch.delenv(name)
    for name, value in chain._environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", True)
    theirs = None
    with suppress(google.auth.exceptions.DefaultCredentialsError):
        theirs = (await asyncio.to_thread(google.auth.default, scopes=[SCOPE]))[0].service_account_email
    if theirs is None:
        await failure(chain)
        return
    assert theirs == ("named@p" if named else "gcloud@p")
    await chain.get(NOW)
    assert google.auth.jwt._unverified_decode(form(upstream.asked[0])["assertion"])[1]["iss"] == theirs


async def test_a_file_that_is_named_has_to_be_there(made: Made, tmp_path: Path) -> None:
    """If the file of GOOGLE_APPLICATION_CREDENTIALS is missing or unreadable there is no fallback to other sources."""
    for path, reason in (("/no/such.json", "does not exist"), (str(tmp_path), "cannot be read: Is a directory")):
        error = await failure(made({"GOOGLE_APPLICATION_CREDENTIALS": path}, gcloud=user("https://example.com")))
        assert reason in error.message
        assert path in error.message
        assert error.message.startswith("Google credentials could not be obtained: ")


async def test_without_credentials_every_source_is_named(made: Made) -> None:
    """Without any credentials the error lists every source and the remedy."""
    error = await failure(made())
    assert error.message.startswith(
        "There are no Google credentials. Looked at environment: neither GOOGLE_OAUTH_ACCESS_TOKEN nor "
        "CLOUDSDK_AUTH_ACCESS_TOKEN is set; GOOGLE_APPLICATION_CREDENTIALS: it is not set; gcloud: "
    )
    for word in (".config/gcloud/application_default_credentials.json does not exist", "NO_GCE_CHECK is true"):
        assert word in error.message
    assert (error.kind, error.status) == (Kind.AUTH, 401)


async def test_the_metadata_server_is_asked(made: Made, upstream: Upstream) -> None:
    """A machine at Google gives its service account's token, which is cached until shortly before its expiry."""
    upstream.answers(granted("1", headers=GOOGLES), granted("2", headers=GOOGLES))
    chain = made(at(upstream))
    assert [await chain.get(NOW + s) for s in (0, 3374, 3375)] == ["hidden.1", "hidden.1", "hidden.2"]
    asked = upstream.asked[0]
    path, _, query = asked.target.partition("?")
    assert (asked.method, path) == ("GET", "/computeMetadata/v1/instance/service-accounts/default/token")
    assert parse_qs(query) == {"scopes": [SCOPE]}
    assert asked.header("Metadata-Flavor") == "Google"


@pytest.mark.parametrize(
    ("answer", "reason", "kind"),
    [
        (reply(b"", "404 Not Found", GOOGLES), "this machine has no service account", Kind.AUTH),
        (reply(b"hidden", "403 Forbidden", GOOGLES), "the metadata server answered 403", Kind.AUTH),
        (reply(b"", "503 Busy", GOOGLES), "the metadata server answered 503", Kind.SENDING),
        (reply(b"hidden", headers=GOOGLES), "the metadata server gave no access token", Kind.AUTH),
        (reply(bytes(1024 * 1024 + 1)), "127.0.0.1 answered with more than 1048576 bytes", Kind.AUTH),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "close"], "gave no answer (ConnectionClosed)", Kind.SENDING),
    ],
)
async def test_a_machine_without_an_account_is_named(
    made: Made, upstream: Upstream, answer: list[Step], reason: str, kind: Kind
) -> None:
    """The metadata server's refusal is in the error, whose kind says if a retry may help."""
    upstream.answers(answer)
    error = await failure(made(at(upstream)))
    assert reason in error.message
    assert error.kind is kind


async def test_a_foreign_metadata_server_is_ignored(made: Made, upstream: Upstream) -> None:
    """A response without Google's header is ignored, and the server is not asked again for a minute."""
    upstream.answers(granted("1"), granted("2", headers=GOOGLES))
    chain = made(at(upstream))
    assert "metadata server: the server at 127.0.0.1:" in (await failure(chain)).message
    assert "metadata server: there was none a moment ago" in (await failure(chain, NOW + 59)).message
    assert len(upstream.asked) == 1
    assert await chain.get(NOW + 64) == "hidden.2"


async def test_an_absent_metadata_server_is_remembered(made: Made) -> None:
    """On a machine elsewhere the connection attempt takes a second, once a minute."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, socket.create_connection(deaf.getsockname()):
        # the one that is not accepted fills the queue; the kernel answers no further one
        host = f"127.0.0.1:{deaf.getsockname()[1]}"
        chain = made({"NO_GCE_CHECK": "", "GCE_METADATA_HOST": host})
        async with asyncio.timeout(6):
            assert f"metadata server: {host} cannot be reached" in (await failure(chain)).message
        assert "metadata server: there was none a moment ago" in (await failure(chain, NOW + 59)).message


@pytest.mark.parametrize(("host", "again"), [("127.0.0.1:9", "cannot be reached"), ("a..b", "a moment ago")])
async def test_a_metadata_server_that_is_not_up_yet_is_asked_again_soon(made: Made, host: str, again: str) -> None:
    """A refused connection is retried soon, since it costs no time; an unknown name is not."""
    chain = made({"NO_GCE_CHECK": "", "GCE_METADATA_HOST": host})
    assert f"{host} cannot be reached" in (await failure(chain)).message
    assert again in (await failure(chain, NOW + 5)).message


async def test_a_known_metadata_server_may_be_retried(made: Made) -> None:
    """If the metadata server has answered before, its absence is a retryable failure."""
    async with Upstream() as upstream:
        upstream.answers(granted("1", 60, headers=[*GOOGLES, ("Connection", "close")]))
        chain = made(at(upstream))
        assert await chain.get(NOW) == "hidden.1"
    error = await failure(chain, NOW + 61)
    assert "127.0.0.1 gave no answer (ConnectFailed)" in error.message
    assert error.kind is Kind.SENDING


async def test_an_invalid_metadata_host_is_named(made: Made) -> None:
    """An invalid GCE_METADATA_HOST is named in the error."""
    error = await failure(made({"NO_GCE_CHECK": "", "GCE_METADATA_HOST": "[::1"}))
    assert "the value of GCE_METADATA_HOST is no host" in error.message


async def test_a_token_is_kept_until_it_has_to_be_refreshed(made: Made, upstream: Upstream) -> None:
    """One request serves all exchanges until shortly before the expiry, or until half of a short life."""
    upstream.answers(granted("1"), granted("2", "300"), granted("3", None))
    chain = made(gcloud=user(upstream.url))
    assert {await chain.get(NOW + s) for s in (0, 1, 3374)} == {"hidden.1"}
    assert len(upstream.asked) == 1
    assert [await chain.get(NOW + s) for s in (3375, 3524, 3525)] == ["hidden.2", "hidden.2", "hidden.3"]
    assert [await chain.get(NOW + s) for s in (3824, 3825)] == ["hidden.3"] * 2
    assert len(upstream.asked) == 4


async def test_one_refresh_serves_all_that_wait(made: Made, upstream: Upstream) -> None:
    """Concurrent exchanges share one request; those with a good token do not wait for the new one."""
    upstream.answers([0.05, *granted("1")])
    chain = made(gcloud=user(upstream.url))
    assert set(await asyncio.gather(*[chain.get(NOW) for _ in range(5)])) == {"hidden.1"}
    assert len(upstream.asked) == 1

    came, answering = asyncio.Event(), asyncio.Event()

    def held_back() -> Iterator[Step]:
        came.set()
        yield answering
        yield from granted("2")

    upstream.answer = lambda _asked: held_back()
    refreshing = asyncio.ensure_future(chain.get(NOW + 3400))
    await came.wait()
    assert await chain.get(NOW + 3400) == "hidden.1"
    assert not refreshing.done()
    answering.set()
    assert await refreshing == "hidden.2"


async def test_a_cancelled_request_does_not_cancel_the_refresh(made: Made, upstream: Upstream) -> None:
    """If the exchange that began a refresh is cancelled, those that wait get the token of that one refresh."""
    came, answering = asyncio.Event(), asyncio.Event()

    def held_back() -> Iterator[Step]:
        came.set()
        yield answering
        yield from granted()

    upstream.answer = lambda _asked: held_back()
    chain = made(gcloud=user(upstream.url))
    first = asyncio.ensure_future(chain.get(NOW))
    await came.wait()
    second = asyncio.ensure_future(chain.get(NOW))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    answering.set()
    assert await second == "hidden.1"
    assert len(upstream.asked) == 1


async def test_a_failed_refresh_is_no_failure_while_the_old_is_good(made: Made, upstream: Upstream) -> None:
    """A token is used until it expires; a failed refresh is repeated after five seconds."""
    upstream.answers(granted("1"), reply(b"", "500 Broken"))
    chain = made(gcloud=user(upstream.url))
    assert [await chain.get(NOW + s) for s in (0, 3400, 3404, 3406, 3599)] == ["hidden.1"] * 5
    assert len(upstream.asked) == 4
    assert (await failure(chain, NOW + 3600)).kind is Kind.SENDING


async def test_a_failure_is_remembered_for_some_seconds(made: Made, upstream: Upstream) -> None:
    """Concurrent exchanges do not each wait for a service that fails."""
    upstream.answers(reply(b"", "500 Broken"), granted())
    chain = made(gcloud=user(upstream.url))
    errors = [await failure(chain, NOW + s) for s in (0, 1, 4.9)]
    assert len(upstream.asked) == 1
    assert len({id(error) for error in errors}) == 3
    assert await chain.get(NOW + 5) == "hidden.1"


async def test_a_refused_token_is_asked_for_again(made: Made, upstream: Upstream) -> None:
    """A refusal of the current token causes a refresh; that of an older one does not."""
    upstream.answers(granted("1"), granted("2"))
    chain = made(gcloud=user(upstream.url))
    assert await chain.get(NOW) == "hidden.1"
    chain.forget("hidden.0")
    assert await chain.get(NOW) == "hidden.1"
    chain.forget("hidden.1")
    assert [await chain.get(NOW) for _ in range(2)] == ["hidden.2"] * 2
    assert len(upstream.asked) == 2


async def test_a_new_login_is_used(made: Made, upstream: Upstream, tmp_path: Path) -> None:
    """The file is read at each refresh, so that a login needs no restart."""
    upstream.answers(reply({"error": "invalid_grant"}, "400 Bad Request"), granted())
    chain = made(gcloud=user(upstream.url))
    await failure(chain)
    made(gcloud=user(upstream.url, refresh_token="hidden.new"))
    assert await chain.get(NOW + 6) == "hidden.1"
    assert [form(asked)["refresh_token"] for asked in upstream.asked] == ["1//hidden-refresh", "hidden.new"]
    assert (tmp_path / ".config/gcloud").is_dir()


@pytest.mark.parametrize(
    ("environ", "more", "project"),
    [
        ({}, {}, None),
        ({}, {"quota_project_id": "file"}, "file"),
        ({"GOOGLE_CLOUD_QUOTA_PROJECT": "env"}, {"quota_project_id": "file"}, "env"),
        ({"GOOGLE_CLOUD_QUOTA_PROJECT": "env"}, {}, "env"),
        ({}, {"quota_project_id": ["x"]}, None),
        ({}, {"quota_project_id": "x\r\ny: z"}, None),
    ],
)
async def test_the_billed_project(
    made: Made, upstream: Upstream, environ: dict[str, str], more: Json, project: str | None
) -> None:
    """The environment, else the file, names the billed project; one that cannot be sent in a header is ignored."""
    upstream.answers(granted())
    chain = made(environ, gcloud=user(upstream.url, **more))
    await chain.get(NOW)
    assert chain.quota_project == project


async def test_no_secret_is_shown_anywhere(
    made: Made, upstream: Upstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No log line, error or repr has a secret, whether an exchange succeeds or fails."""
    caplog.set_level(logging.DEBUG)
    (tmp_path / "token").write_text("hidden.subject")
    source = {"file": str(tmp_path / "token")}
    files = (
        user(upstream.url),
        account(upstream.url),
        external(upstream.url, source, client_id="c", client_secret="hidden"),
    )
    for info in files:
        for answer in (granted(), reply({"error": "x", "error_description": "no"}, "400 Bad Request")):
            upstream.answers(answer)
            chain: GoogleCredentials = made(named=info)
            with suppress(Exception):
                await chain.get(NOW)
            shown = f"{chain!r} {caplog.text}"
            if chain._refresher.current is None:
                shown += repr(await failure(chain))
            assert "hidden" not in shown
            assert pem().splitlines()[3] not in shown
