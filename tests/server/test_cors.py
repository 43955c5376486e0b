"""Web pages of other origins: preflights, the headers of every response, and pages that are not named."""

from pathlib import Path

import pytest

from tests.support.gateways import InProcess, to
from tests.support.raw_http import Answer, exchange, request
from tests.support.upstream import Upstream, reply, stream

TOKEN = "the-gateways-token"
NAMED, OTHER = "https://app.example", "https://evil.example"
TOML = f'[auth]\norigins = ["{NAMED}/"]\n'
JSON = ("Content-Type", "application/json")
CHAT = b'{"model": "m", "messages": []}'
ASKING = [
    ("Access-Control-Request-Method", "POST"),
    ("Access-Control-Request-Headers", "authorization,content-type,x-stainless-os"),
    ("Access-Control-Request-Private-Network", "true"),
]
PATHS = [
    "/v1/chat/completions",
    "/openai/anything",
    "/nowhere",
    "/v1/traces",
    "/events",
    "/-/sql",
    "/-/jaeger/api/traces",
]


def values(answer: Answer, name: str) -> list[str]:
    """Return the values of a header."""
    return [value.decode() for value in answer.values(name.encode())]


def granted(answer: Answer) -> list[str]:
    """Return the names of an answer's CORS headers."""
    names = [name.decode().lower() for name, _ in answer.headers]
    return [name for name in names if name.startswith("access-control-")]


@pytest.mark.parametrize("token", [None, TOKEN])
async def test_a_preflight_is_answered_here(upstream: Upstream, tmp_path: Path, token: str | None):
    """For a named origin with leave, for another without; no provider is sent one, no token is needed."""
    async with InProcess(tmp_path / "data", to(upstream.url, TOML), token=token) as gateway:
        for path in PATHS:
            answer = await exchange(gateway.url, request("OPTIONS", path, [("Origin", NAMED), *ASKING]))
            assert (answer.status, values(answer, "access-control-allow-origin")) == (204, [NAMED])
            assert "POST" in values(answer, "access-control-allow-methods")[0]
            assert values(answer, "access-control-allow-headers") == ["authorization,content-type,x-stainless-os"]
            assert values(answer, "access-control-allow-private-network") == ["true"]
            assert int(values(answer, "access-control-max-age")[0]) > 0
            assert "Origin" in values(answer, "vary")
            for other in (OTHER, "null", "https://app.example.evil.example", "http://app.example"):
                answer = await exchange(gateway.url, request("OPTIONS", path, [("Origin", other), *ASKING]))
                assert (answer.status, granted(answer)) == (403, [])
        assert (upstream.asked, gateway.rows()) == ([], [])


async def test_every_response_has_the_headers(upstream: Upstream, tmp_path: Path):
    """Whole, streamed, a provider's error, an error of ours, a 401, a stray's 404, pages below /-/ and ingest."""
    theirs = [("Access-Control-Allow-Origin", "*"), ("x-request-id", "r"), ("Vary", "Accept"), ("x-own", "1")]
    answers = {
        "/v1/chat/completions": stream([b'data: {"choices": []}\n\n', b"data: [DONE]\n\n"], theirs),
        "/v1/embeddings": reply({"error": {"message": "no"}}, "400 Bad Request", theirs),
    }
    upstream.answer = lambda asked: answers.get(asked.target, reply({}, "200 OK", theirs))
    requests = {
        ("POST", "/v1/chat/completions"): 200, ("POST", "/v1/embeddings"): 400, ("POST", "/v1/files"): 200,
        ("POST", "/openai/deployments/d/embeddings"): 404, ("POST", "/v1/newest"): 404, ("GET", "/-/config"): 503,
        ("POST", "/v1/traces"): 200, ("GET", "/-/health"): 200, ("GET", "/"): 200,
    }  # fmt: skip
    async with InProcess(tmp_path / "data", to(upstream.url, TOML), token=TOKEN) as gateway:
        for shown in (True, False):
            head = [JSON, *([("Authorization", f"bearer {TOKEN}")] if shown else [])]
            for (method, path), status in requests.items():
                body = b"{}" if path == "/v1/traces" else CHAT if method == "POST" else b""
                answer = await exchange(gateway.url, request(method, path, [*head, ("Origin", NAMED)], body))
                assert answer.status == (status if shown or path in {"/", "/-/health"} else 401)
                assert values(answer, "access-control-allow-origin") == [NAMED]
                assert "Origin" in values(answer, "vary")
                exposed = values(answer, "access-control-expose-headers")[0].split(", ")
                assert {"x-gateway-trace-id", "traceresponse", "retry-after", "request-id"} <= set(exposed)
                assert ("x-own" in exposed) == (b"x-own" in {name.lower() for name, _ in answer.headers})
                other = await exchange(gateway.url, request(method, path, [*head, ("Origin", OTHER)], body))
                assert granted(other) == []


async def test_without_an_origin_a_providers_headers_pass(upstream: Upstream, gateway: InProcess):
    """A request of no page gets the provider's headers as they came, and a gateway without the setting adds none."""
    upstream.answers(reply({}, "200 OK", [("Access-Control-Allow-Origin", "*")]))
    plain = await exchange(gateway.url, request("GET", "/v1/models"))
    assert (granted(plain), values(plain, "vary")) == (["access-control-allow-origin"], [])
    of_a_page = await exchange(gateway.url, request("GET", "/v1/models", [("Origin", OTHER)]))
    assert granted(of_a_page) == []
    await exchange(gateway.url, request("OPTIONS", "/v1/models", [("Origin", OTHER)]))  # no preflight
    assert upstream.asked[-1].method == "OPTIONS"


async def test_a_request_of_another_site_spends_no_key(upstream: Upstream, tmp_path: Path):
    """An image's GET has no origin: the browser marks it. A named page may, and so may one with its own key."""
    ours = {"OPENAI_API_KEY": "of-the-environment-0001"}
    marked = ("Sec-Fetch-Site", "cross-site")
    async with InProcess(tmp_path / "data", to(upstream.url, TOML), ours) as gateway:
        for method, path in (("GET", "/v1/files"), ("GET", "/v1/models"), ("POST", "/v1/chat/completions")):
            body = CHAT if method == "POST" else b""
            assert (await exchange(gateway.url, request(method, path, [marked, JSON], body))).status == 403
            local = [marked, JSON, ("Origin", "http://localhost:3000")]
            assert (await exchange(gateway.url, request(method, path, local, body))).status == 403
        assert upstream.asked == []
        for more in (
            [("Origin", NAMED), marked],
            [("Authorization", "Bearer mine"), marked],
            [("Sec-Fetch-Site", "same-site")],
        ):
            assert (await exchange(gateway.url, request("GET", "/v1/files", more))).status == 200
        assert len(upstream.asked) == 3
        for method, path in (("GET", "/-/jaeger/api/services"), ("GET", "/-/config"), ("POST", "/-/sql")):
            for more, status in (([marked], 403), ([marked, ("Origin", NAMED)], 503), ([], 503)):  # 503: no recorder
                sent = request(method, path, [JSON, *more], b"{}" if method == "POST" else b"")
                assert (await exchange(gateway.url, sent.replace(b"Host: test", b"Host: localhost"))).status == status
        for path in ("/v1/traces", "/events"):
            assert (await exchange(gateway.url, request("POST", path, [JSON, marked], b"{}"))).status == 403
