"""A planted key in every place that takes one, through all that can go wrong: it is found in nothing that we write."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway.config.model import parse
from gateway.errors import ConfigError
from gateway.providers.table import build
from tests.support.gateways import InProcess, Process, to
from tests.support.otlp_receiver import Receiver
from tests.support.raw_http import connected, exchange, request
from tests.support.upstream import CLOSE, RESET, Asked, Step, Upstream, reply, stream

JSON = ("Content-Type", "application/json")


def planted(place: str) -> str:
    """Return the key that is planted in a place."""
    return f"planted-{place}-0123456789abcdef"


# Where a client may put a key: headers, and the query.
CLIENT: dict[str, tuple[list[tuple[str, str]], str]] = {
    "bearer": ([("Authorization", f"Bearer {planted('bearer')}")], ""),
    "basic": ([("Authorization", f"Basic {planted('basic')}")], ""),
    "x-api-key": ([("x-api-key", planted("x-api-key"))], ""),
    "api-key": ([("api-key", planted("api-key"))], ""),
    "goog": ([("x-goog-api-key", planted("goog"))], ""),
    "cookie": ([("Cookie", f"theme=dark; session={planted('cookie')}")], ""),
    "query": ([], f"?alt=sse&key={planted('query')}"),
    "query-2": ([], f"?api_key={planted('query-2')}&beta=true"),
}
CONFIGURED = ("config-key", "config-header", "environment", "environment-2", "token", "otlp")
PLACES = (*CLIENT, *CONFIGURED)


def echo(asked: Asked) -> str:
    """Say all that was asked, as a careless provider may."""
    return f"Incorrect key: {asked.target} {asked.headers}"


def _stream(asked: Asked, last: list[Step]) -> list[Step]:
    delta = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": echo(asked)}}]}
    return [*stream([b"data: %b\n\n" % json.dumps(delta).encode()])[:-1], *last]


def answers(upstream: Upstream) -> Any:
    """Return a provider that does as the request's own header says, and repeats what it was sent."""
    seen: set[str] = set()

    def answer(asked: Asked) -> list[Step]:
        error = {"error": {"message": echo(asked), "type": "invalid_request_error", "code": echo(asked)}}
        match asked.header("x-scenario") or "":
            case "whole":
                message = {"role": "assistant", "content": echo(asked)}
                return reply({"id": "c", "model": "m", "choices": [{"index": 0, "message": message}]})
            case "stream":
                return _stream(asked, [b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"])
            case "broken":
                return _stream(asked, [CLOSE])
            case "event":
                data = b"data: %b\n\n" % json.dumps(error).encode()
                return _stream(asked, [b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)])
            case "refused":
                return reply(error, "401 Unauthorized", [("WWW-Authenticate", echo(asked))])
            case "retried":
                first = str(asked.headers) + asked.target not in seen
                seen.add(str(asked.headers) + asked.target)
                return reply(error, "500 Oops" if first else "200 OK")
            case "redirected":
                return reply(b"", "302 Found", [("Location", asked.target)])
            case "reset":
                return [RESET]
            case "garbage":
                return [echo(asked).encode() + b"\r\n\r\n", CLOSE]
            case _:
                return reply({"data": []})

    upstream.answer = answer
    return answer


SCENARIOS = ("whole", "stream", "broken", "event", "refused", "retried", "redirected", "reset", "garbage", "")
# Paths of requests: read, relayed only, refused by us, and to a provider that nobody is at.
TARGETS = (
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/messages"),
    ("GET", "/v1/files"),
    ("POST", "/keyed/v1/chat/completions"),
    ("POST", "/nobody/v1/chat/completions"),
    ("POST", "/anthropic/v1/embeddings"),
    ("POST", "/anthropic/v1/chat/completions"),
    ("GET", "/nope/v9"),
)
BODIES = (b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}', b"{not json")


def requests() -> Iterator[tuple[bytes, bool]]:
    """Give every request, and whether the error it gets is one of ours: a provider's own bytes are the client's."""
    token = ("x-gateway-token", planted("token"))
    for headers, query in (*CLIENT.values(), ([], "")):
        for method, path in TARGETS:
            for scenario in SCENARIOS if path.startswith(("/v1", "/keyed")) else ("",):
                head = [JSON, token, ("x-scenario", scenario), *headers]
                ours = scenario in {"reset", "garbage"} or not path.startswith(("/v1", "/keyed", "/anthropic/v1/chat"))
                yield request(method, path + query, head, BODIES[0]), ours
        yield request("POST", "/v1/chat/completions" + query, [JSON, token, *headers], BODIES[1]), False
        yield request("POST", "/v1/chat/completions" + query, headers, BODIES[0]), True  # without the token
        yield request("GET", "/v1/models\xe4" + query, [token, *headers]), False  # no HTTP
        yield request("GET", "/v1/models" + query, [token, *[(n, v + "\x01") for n, v in headers]]), False
        yield request("GET", f"http://u:{planted('basic')}@host/v1/models{query}", [token, *headers]), True
        yield request("GET", "/-/nope" + query, [("Authorization", f"Bearer {planted('token')}"), *headers]), True


def toml(upstream: str) -> str:
    """Return a configuration with a key in each place for one."""
    return to(
        upstream,
        f'max_tries = 2\n[providers.keyed]\nbase_url = "{upstream}/v1"\napi_key = "{planted("config-key")}"\n'
        f'headers = {{x-secret = "{planted("config-header")}"}}\n'
        '[providers.nobody]\nbase_url = "http://127.0.0.1:9/v1"\n[auth]\nrequired = true\n',
    )


ENVIRON = {
    "OPENAI_API_KEY": planted("environment"),
    "ANTHROPIC_API_KEY": planted("environment-2"),
    "GATEWAY_TOKEN": planted("token"),
    "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={planted('otlp')}",
    "OTEL_BSP_SCHEDULE_DELAY": "100",
}


@pytest.fixture(name="collector")
def _collector() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def found(text: bytes | str) -> list[str]:
    """Return the places whose keys are in a text."""
    data = text if isinstance(text, bytes) else text.encode()
    return [place for place in PLACES if planted(place).encode() in data]


@pytest.mark.integration
@pytest.mark.timeout(120)
async def test_no_sink_has_a_planted_key(upstream: Upstream, tmp_path: Path, collector: Receiver):
    """Every place, through every outcome, with -v: no row, file, log line, page, error of ours or OTLP batch has it."""
    answers(upstream)
    environ = ENVIRON | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}"}
    leaks: list[tuple[str, list[str]]] = []
    count = 0
    async with Process(tmp_path, toml(upstream.url), "-v", environ=environ) as gateway:
        for data, ours in requests():
            count += 1
            try:
                answer = await exchange(gateway.url, data)
            except ConnectionError:
                continue
            if ours:
                assert answer.status in {502, 401, 404, 400, 200}  # 200: a list of models
                leaks.append((f"an error: {answer.body!r}", found(answer.body)))
        bearer = ("Authorization", f"Bearer {planted('token')}")
        for method, path, body in (("GET", "/-/health", b""), ("POST", "/-/sql", b'{"sql":"FROM spans","limit":9999}')):
            answer = await exchange(gateway.url, request(method, path, [bearer, JSON], body))
            assert answer.status == 200
            leaks.append((path, found(answer.body)))
        for _ in range(100):
            if len(collector.names) >= 2 * count * 0.8:
                break
            await asyncio.sleep(0.1)
        assert await gateway.stop() == 0
    # The planted keys did what they are there for; a cookie without a key is none, and ours are not sent beside it.
    assert {place for asked in upstream.asked for place in found(repr(asked))} == {*PLACES} - {
        "token",
        "otlp",
        "cookie",
    }
    assert any(planted("otlp") in str(headers) for headers in collector.headers)
    leaks += [
        (str(path), found(path.read_bytes()))
        for path in tmp_path.rglob("*")
        if path.name != "gateway.toml" and path.is_file()
    ]
    leaks += [("OTLP", found(sent.SerializeToString())) for _, sent in collector.requests]
    with duckdb.connect(str(gateway.data / "spans.duckdb"), read_only=True) as con:
        rows = con.execute("SELECT to_json(s) FROM spans s").fetchall()
    leaks += [("a row", found(row)) for (row,) in rows]
    assert len(rows) > count
    assert collector.names
    assert [leak for leak in leaks if leak[1]] == []


async def test_a_providers_error_that_repeats_the_key_is_the_clients_as_it_is(upstream: Upstream, gateway: InProcess):
    """The client gets the provider's bytes, its own key among them; what is stored says that it was taken out."""
    key = planted("bearer")
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {key}. Sorry."}}).encode()
    upstream.answers(reply(body, "401 Unauthorized"))
    answer = await exchange(
        gateway.url,
        request("POST", "/v1/chat/completions", [JSON, ("Authorization", f"Bearer {key}")], BODIES[0]),
    )
    assert answer.body == body
    said = "Incorrect API key provided: [redacted]. Sorry."
    assert gateway.attempt()["error"] == gateway.exchange()["error"] == said


async def test_a_key_that_the_client_says_itself_is_not_kept(upstream: Upstream, gateway: InProcess):
    """An agent that reads its own environment aloud, as a prompt and in an answer, is recorded without its key."""
    key = planted("x-api-key")
    body = {"model": "m", "messages": [{"role": "user", "content": f"ANTHROPIC_API_KEY={key}\n"}], "max_tokens": 9}
    upstream.answers(
        reply({"id": "m", "content": [{"type": "text", "text": f"It is {key}"}], "stop_reason": "end_turn"})
    )
    answer = await exchange(
        gateway.url, request("POST", "/v1/messages", [JSON, ("x-api-key", key)], json.dumps(body).encode())
    )
    assert key.encode() in answer.body
    assert key in upstream.asked[0].body.decode()
    row = gateway.attempt()
    assert row["input_messages"][0]["parts"][0]["content"] == "ANTHROPIC_API_KEY=[redacted]\n"
    assert row["output_messages"][0]["parts"][0]["content"] == "It is [redacted]"
    assert found(json.dumps(gateway.rows())) == []


async def test_a_handler_that_crashes_says_no_key(upstream: Upstream, gateway: InProcess, monkeypatch, caplog):
    """A fault of our own is logged with where it was; the exchange ends as one, and nobody learns a key."""

    def broken(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("gateway.proxy.handler.decide", broken)
    caplog.set_level(logging.DEBUG)
    headers = [JSON, ("Authorization", f"Bearer {planted('bearer')}")]
    answer = await exchange(
        gateway.url, request("POST", f"/v1/chat/completions?key={planted('query')}", headers, BODIES[0])
    )
    assert answer.status == 500
    assert "a fault" in caplog.text
    assert found(answer.body) == found(caplog.text) == found(json.dumps(gateway.rows())) == []
    assert gateway.exchange()["outcome"] == "generic"
    assert upstream.asked == []


async def test_a_request_that_cannot_be_parsed_is_not_repeated_in_the_log(gateway: InProcess, caplog):
    """A header with a bad character may be the one with the key: the log says what was wrong, and no more."""
    async with connected(gateway.url) as client:
        await client.send(request("GET", "/v1/models", [("Authorization", f"Bearer {planted('bearer')}\x01")]))
        assert (await client.answer()).status == 400
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no valid HTTP" in caplog.text
    assert found(caplog.text) == []


@pytest.mark.integration
async def test_a_collectors_header_that_cannot_be_read_is_not_repeated_in_the_log(upstream: Upstream, tmp_path: Path):
    """Headers for a collector mostly hold a key, and a colon in the place of `=` is soon written."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-key: {planted('otlp')}",
    }
    async with Process(tmp_path, to(upstream.url), "-v", environ=environ) as gateway:
        assert await gateway.stop() == 0
    assert "OTEL_EXPORTER_OTLP_HEADERS: ignored an entry that is not name=value" in gateway.log.read_text()
    assert found(gateway.log.read_text()) == []


WRONG_CONFIGS = (
    '[providers.a]\napi_key = "{0}',
    "[providers.a]\napi_key = {0}",
    '[providers.a]\nbase_url = "http://x"\nheaders = "{0}"',
    '[providers.a]\nbase_url = "http://x"\nheaders = ["{0}"]',
    '[providers.a]\nbase_url = "http://x"\napi_key = ["{0}"]',
    '[providers.a]\napi_key = "{0}"',
    '[auth]\ntokn = "{0}"',
    '[auth]\ntoken = ["{0}"]',
    '[auth]\nrequired = "{0}"',
    'api_key = "{0}"',
    '[providers.a]\nbase_url = "http://user:{0}@x"',
    '[providers.a]\nbase_url = "http://x?key={0}"',
    '[providers.a]\nbase_url = "http://x#{0}"',
)


@pytest.mark.parametrize("text", WRONG_CONFIGS)
def test_a_wrong_configuration_is_said_without_its_secrets(text):
    """Whatever is wrong with a file, the error names the place and repeats no key."""
    with pytest.raises(ConfigError) as caught:
        build(parse(text.format(planted("config-key")), {}, "gateway.toml"), {})
    assert found(str(caught.value)) == []
    assert found(repr(caught.getrepr(style="short"))) == []
