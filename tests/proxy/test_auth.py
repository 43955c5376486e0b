"""Who may send requests: our token, where it is needed and where not, and pages of other sites."""

import json
from pathlib import Path

import pytest

from gateway.proxy.auth import Token
from tests.support.gateways import InProcess, Process, to
from tests.support.raw_http import Answer, exchange, request
from tests.support.upstream import Upstream

TOKEN = "the-gateways-token"
CHAT = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'
CONTENTS = b'{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}'
JSON = ("Content-Type", "application/json")
KINDS = (("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer mine"))
KEYS = {"authorization", "x-api-key", "api-key", "x-goog-api-key", "x-gateway-token"}


def everywhere(url: str, more: str = "") -> str:
    """Return a configuration that sends all to `url`."""
    names = ("gemini", "ollama", "aws-bedrock", "azure-openai")
    return to(url, "".join(f'[providers.{name}]\nbase_url = "{url}"\n' for name in names) + more)


async def post(gateway: InProcess, path: str, *headers: tuple[str, str], method: str = "POST") -> Answer:
    """Send a request of the path's dialect."""
    body = b"" if method != "POST" else CONTENTS if "generateContent" in path else CHAT
    return await exchange(gateway.url, request(method, path, [JSON, *headers], body))


# Our token.

PLACES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "openai": ("/v1/chat/completions", [("Authorization", f"Bearer {TOKEN}")]),
    "anthropic": ("/v1/messages", [("x-api-key", TOKEN)]),
    "anthropic's other": ("/v1/messages", [("authorization", f"bearer {TOKEN}")]),
    "gemini": ("/v1beta/models/g:generateContent", [("x-goog-api-key", TOKEN)]),
    "gemini's query": (f"/v1beta/models/g:generateContent?alt=json&key={TOKEN}&x=1", []),
    "azure": ("/openai/deployments/d/chat/completions", [("api-key", TOKEN)]),
    "ollama": ("/api/chat", [("Authorization", f"Bearer {TOKEN}")]),
    "bedrock": ("/model/x/converse", [("Authorization", f"Bearer {TOKEN}")]),
    "its own": ("/v1/chat/completions", [("X-Gateway-Token", TOKEN)]),
}
ENVIRON = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hidden", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("place", PLACES)
async def test_our_token_stays_here(upstream: Upstream, tmp_path: Path, place, required):
    """In each place of a key, needed or not, it is ours and no provider's; nothing else of the request changes."""
    path, headers = PLACES[place]
    async with InProcess(
        tmp_path / "data", everywhere(upstream.url), ENVIRON, token=TOKEN, required=required
    ) as gateway:
        assert (await post(gateway, path, *headers)).status == 200
        (asked,) = upstream.asked
        assert TOKEN not in str(asked)
        assert TOKEN not in json.dumps(gateway.rows())
        assert asked.target.partition("?")[2] == ("alt=json&x=1" if "?" in path else "")
        signed = [value for name, value in asked.headers if name.lower() in KEYS]
        assert [value[:16] for value in signed] == (["AWS4-HMAC-SHA256"] if place == "bedrock" else [])


async def test_a_clients_own_key_is_not_ours(upstream: Upstream, tmp_path: Path):
    """Where our token is not needed a key that is another goes on as it came, and so does none."""
    async with InProcess(tmp_path / "data", to(upstream.url), token=TOKEN, required=False) as gateway:
        await post(gateway, "/v1/chat/completions", ("Authorization", f"Bearer {TOKEN}x"))
        await post(gateway, "/v1/chat/completions", ("Authorization", f"Bearer {TOKEN}"), ("api-key", "mine"))
        await post(gateway, "/v1/chat/completions")
    sent = [[each for each in asked.headers if each[0].lower() in KEYS] for asked in upstream.asked]
    assert sent == [[("Authorization", f"Bearer {TOKEN}x")], [("api-key", "mine")], []]


async def test_a_token_in_the_place_of_a_key_makes_way_for_the_environments(upstream: Upstream, tmp_path: Path):
    """Who has shown our token has brought no key of its own."""
    environ = {"OPENAI_API_KEY": "sk-ours"}
    for required in (True, False):
        data = tmp_path / str(required)
        async with InProcess(data, to(upstream.url), environ, token=TOKEN, required=required) as gateway:
            await post(gateway, "/v1/chat/completions", ("Authorization", f"Bearer {TOKEN}"))
    assert [asked.header("authorization") for asked in upstream.asked] == ["Bearer sk-ours"] * 2


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/chat/completions", []),
        ("/v1/models", []),
        (f"/v1/chat/completions?key={TOKEN}", []),
        ("/v1beta/models/g:generateContent?key=other", []),
        ("/nowhere", []),
        ("/v1/chat/completions", [("Authorization", f"Basic {TOKEN}")]),
        ("/v1/chat/completions", [("Cookie", TOKEN)]),
    ],
)
async def test_who_has_not_our_token_is_told_nothing(upstream: Upstream, tmp_path: Path, path, headers):
    """Neither what there is nor what there is not: where it is needed the answer is always 401."""
    toml = everywhere(upstream.url, f'[providers.secretive]\nbase_url = "{upstream.url}"\n')
    async with InProcess(tmp_path / "data", toml, token=TOKEN) as gateway:
        answer = await post(gateway, path, *headers)
        assert answer.status == 401
        assert b"$.auth.token" in answer.body
        assert b"secretive" not in answer.body
        assert TOKEN.encode() not in answer.body
        assert upstream.asked == []
        assert [row["outcome"] for row in gateway.rows()] == ["auth"] * (path != "/nowhere")


async def test_our_own_pages_need_the_token_where_requests_do(upstream: Upstream, tmp_path: Path):
    """Where it is only known they do not: they go by the names of this machine."""
    for required, status in ((True, 401), (False, 503)):  # 503: there is no recorder here
        data = tmp_path / str(required)
        async with InProcess(data, to(upstream.url), token=TOKEN, required=required) as gateway:
            asked = request("POST", "/-/sql", [JSON], b"{}").replace(b"Host: test", b"Host: localhost")
            assert (await exchange(gateway.url, asked)).status == status


def test_a_token_is_not_shown():
    """Neither by itself nor by what holds it."""
    assert TOKEN not in repr([Token(TOKEN)])


# Pages of other sites.

OURS = {"OPENAI_API_KEY": "sk-of-the-environment"}
PAGES = {
    "another site": "https://evil.example",
    "a name of its own that leads here": "http://evil.example:4000",
    "a hidden one": "null",
    "this network": "http://192.168.1.7:3000",
    "a name that only begins so": "http://localhost.evil.example",
    "an address that is none": "http://[::1",
}
NEIGHBOURS = {
    "this machine": "http://localhost:3000",
    "its address": "http://127.0.0.1:8080",
    "another of its addresses": "http://127.8.8.8",
    "its other address": "http://[::1]:3000",
    "a name below": "http://app.localhost:3000",
    "an extension": "chrome-extension://abcdef",
    "an editor": "vscode-webview://abcdef",
    "one's own": "https://chat.example",
}
ALLOWED = '[auth]\norigins = ["https://chat.example", "http://gateway.example"]\n'


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_of_another_site_cannot_use_our_keys(upstream: Upstream, tmp_path: Path, page):
    """Whether it posts or lists models; it is told the setting, and nothing is sent."""
    async with InProcess(tmp_path / "data", to(upstream.url, ALLOWED), OURS) as gateway:
        origin = ("Origin", PAGES[page])
        for answer in (
            await post(gateway, "/v1/chat/completions", origin),
            await post(gateway, "/v1/files", origin, method="GET"),
            await post(gateway, "/v1/models", origin, method="GET"),
        ):
            assert answer.status == 403
            assert json.loads(answer.body)["error"]["code"] == "origin_refused"
            assert b"$.auth.origins" in answer.body
        assert upstream.asked == []
        assert {row["outcome"] for row in gateway.rows("SERVER")} == {"auth"}


@pytest.mark.parametrize("page", NEIGHBOURS)
async def test_pages_of_this_machine_and_ones_own_can(upstream: Upstream, tmp_path: Path, page):
    """And applications that have a scheme of their own."""
    async with InProcess(tmp_path / "data", to(upstream.url, ALLOWED), OURS) as gateway:
        assert (await post(gateway, "/v1/chat/completions", ("Origin", NEIGHBOURS[page]))).status == 200
    assert upstream.asked[0].header("authorization") == "Bearer sk-of-the-environment"


WHOSE: dict[str, tuple[str, str, dict[str, str], list[tuple[str, str]], int]] = {
    "nobody's": ("/v1/chat/completions", "", {}, [], 200),
    "the client's": ("/v1/chat/completions", "", OURS, [("Authorization", "Bearer mine")], 200),
    "the configuration's": ("/v1/chat/completions", "api_key = 'k'\n", {}, [("Authorization", "Bearer mine")], 403),
    "a configured header": ("/v1/chat/completions", "headers = {Cookie = 'k'}\n", {}, [], 403),
    "another provider's": ("/v1/messages", "", OURS, [], 200),
    "a signature": ("/model/x/converse", "", ENVIRON, [], 403),
    "a client's own at Bedrock": ("/model/x/converse", "", ENVIRON, [("Authorization", "Bearer mine")], 200),
    "in Google's query": ("/v1beta/models/g:generateContent?key=mine", "", {"GEMINI_API_KEY": "k"}, [], 200),
    "the demo's": ("/demo/v1/chat/completions", "", OURS, [], 404),  # it has no such model
}


@pytest.mark.parametrize("whose", WHOSE)
async def test_a_page_is_refused_where_we_would_pay(upstream: Upstream, tmp_path: Path, whose):
    """Not where it brought its own key, or where there is none."""
    path, more, environ, headers, status = WHOSE[whose]
    toml = everywhere(upstream.url).replace("[providers.openai]\n", f"[providers.openai]\n{more}")
    async with InProcess(tmp_path / "data", toml, environ) as gateway:
        answer = await post(gateway, path, ("Origin", "https://evil.example"), *headers)
        assert answer.status == status


@pytest.mark.parametrize("required", [True, False])
async def test_who_has_shown_our_token_may_be_any_page(upstream: Upstream, tmp_path: Path, required):
    """No page of somebody else's has it."""
    headers = [("Origin", "https://evil.example"), ("X-Gateway-Token", TOKEN)]
    async with InProcess(tmp_path / "data", to(upstream.url), OURS, token=TOKEN, required=required) as gateway:
        assert (await post(gateway, "/v1/chat/completions", *headers)).status == 200
        assert (await post(gateway, "/v1/models", *headers, method="GET")).status == 200


HOSTS = {
    "evil.example:4000": 403,
    "evil.example": 403,
    "evil.example.": 403,
    "evil.example.:4000": 403,
    "gateway.example": 200,
    "localhost:4000": 200,
    "127.0.0.1:4000": 200,
    "[::1]:4000": 200,
    "192.0.2.7": 200,
    "gateway:4000": 200,
    "host.docker.internal:4000": 200,
    "my-machine.local": 200,
    "my-machine.local.": 200,
    "localhost.": 200,
    "localhost.:4000": 200,
}


@pytest.mark.parametrize("host", HOSTS)
async def test_a_page_under_a_name_that_was_made_to_lead_here_reads_nothing(upstream: Upstream, tmp_path: Path, host):
    """A page reads what is under its own name without an Origin: then a name that others may own is refused."""
    async with InProcess(tmp_path / "data", to(upstream.url, ALLOWED), OURS) as gateway:
        for path in ("/v1/files", "/v1/models"):
            asked = request("GET", path).replace(b"Host: test", f"Host: {host}".encode())
            assert (await exchange(gateway.url, asked)).status == HOSTS[host]
        assert (await post(gateway, "/v1/chat/completions")).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/v1/files", "/v1/models"])
async def test_reading_under_a_rebound_name_is_refused(upstream: Upstream, tmp_path: Path, path, method):
    """GET and HEAD carry no Origin on a page's own name: the Host header decides, and nothing is sent."""
    async with InProcess(tmp_path / "data", to(upstream.url), OURS) as gateway:
        asked = request(method, path).replace(b"Host: test", b"Host: evil.example:4000")
        assert (await exchange(gateway.url, asked)).status == 403
        assert upstream.asked == []


@pytest.mark.integration
async def test_the_command_knows_its_token_where_it_needs_none(upstream: Upstream, tmp_path: Path):
    """Of the environment, with the line's end of a file: a client that sends it by habit is let in, and nobody else."""
    environ = {"GATEWAY_TOKEN": f"{TOKEN}\n", "OPENAI_API_KEY": "sk-ours"}
    async with Process(tmp_path, to(upstream.url), environ=environ) as gateway:
        asked = [request("POST", "/v1/chat/completions", [JSON, each], CHAT) for each in KINDS]
        assert [(await exchange(gateway.url, each)).status for each in asked] == [200, 200]
        assert TOKEN not in gateway.log.read_text()
    assert [each.header("authorization") for each in upstream.asked] == ["Bearer sk-ours", "Bearer mine"]


@pytest.mark.integration
async def test_the_command_asks_for_its_token_where_that_is_said(upstream: Upstream, tmp_path: Path):
    """Each worker knows it."""
    toml = to(upstream.url, f'[auth]\nrequired = true\ntoken = "{TOKEN}"\n')
    async with Process(tmp_path, toml, workers=2) as gateway:
        asked = [request("POST", "/v1/chat/completions", [JSON, each], CHAT) for each in KINDS] * 4
        assert [(await exchange(gateway.url, each)).status for each in asked] == [200, 401] * 4
