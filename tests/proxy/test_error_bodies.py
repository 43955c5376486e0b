"""Errors born in the gateway: each front door's clients are told in their own API's words."""

import json
from pathlib import Path

import pytest

from gateway.dialects.bedrock import CONVERSE
from gateway.errors import ExchangeError, Kind
from gateway.proxy import error_bodies
from gateway.proxy.routing.routes import SPOKEN_TO
from tests.support.raw import exchange, request
from tests.support.running import InProcess
from tests.support.upstream import CLOSE, Upstream, stream

BAD_INPUT = "invalid_request_error"
KINDS = (Kind.SENDING, Kind.RATE_LIMIT, Kind.TIMEOUT, Kind.BAD_INPUT, Kind.AUTH, Kind.NOT_FOUND, Kind.TOO_LARGE)


def error_in(family: str, body: bytes) -> dict[str, object]:
    """Return what a client of a family finds as the error, having checked the whole body's shape."""
    whole = json.loads(body)
    match family:
        case "openai" | "azure-openai":
            assert set(whole) == {"error"}
            assert set(whole["error"]) == {"message", "type", "param", "code"}
            error = whole["error"]
        case "anthropic":
            assert (set(whole), whole["type"]) == ({"type", "error", "request_id"}, "error")
            error = whole["error"]
        case "gemini":
            assert set(whole) == {"error"}
            assert {"code", "message", "status"} <= set(whole["error"])
            assert isinstance(whole["error"]["code"], int)
            error = whole["error"]
        case "ollama":
            assert set(whole) == {"error"}
            assert isinstance(whole["error"], str)
            error = {"message": whole["error"]}
        case "chronicle":
            assert set(whole) == {"error"}
            assert set(whole["error"]) == {"kind", "message", "details"}
            assert whole["error"]["details"] == {"body": whole["error"]["message"], "details": None}
            error = whole["error"]
        case _:
            assert set(whole) == {"__type", "message"}
            error = whole
    assert isinstance(error["message"], str)
    return error


@pytest.mark.parametrize("family", SPOKEN_TO)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_body_in_every_familys_words(family, kind):
    """Whatever went wrong, the message is where the client's SDK looks for it."""
    error = ExchangeError(kind, "what happened, and what to change", code="why")
    said = error_in(family, error_bodies.body(error, family, "0123"))
    assert said["message"] == error.message


@pytest.mark.parametrize(
    ("kind", "status", "openai", "anthropic", "gemini", "bedrock"),
    [
        (Kind.RATE_LIMIT, 429, "rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED", "ThrottlingException"),
        (Kind.AUTH, 401, "authentication_error", "authentication_error", "UNAUTHENTICATED", "AccessDeniedException"),
        (Kind.BAD_INPUT, 400, BAD_INPUT, BAD_INPUT, "INVALID_ARGUMENT", "ValidationException"),
        (Kind.NOT_FOUND, 404, BAD_INPUT, "not_found_error", "NOT_FOUND", "ResourceNotFoundException"),
        (Kind.SENDING, 502, "server_error", "api_error", "UNAVAILABLE", "ServiceUnavailableException"),
    ],
)  # fmt: skip
def test_a_kind_is_what_each_family_calls_it(kind, status, openai, anthropic, gemini, bedrock):
    """The word by which an SDK, or its user, tells what to do; Bedrock's stands in the head as well."""
    error = ExchangeError(kind, "x", status=status)
    told = {name: error_in(name, error_bodies.body(error, name, "0123")) for name in SPOKEN_TO}
    assert (told["openai"]["type"], told["azure-openai"]["type"]) == (openai, openai)
    assert told["anthropic"]["type"] == anthropic
    assert (told["gemini"]["status"], told["gemini"]["code"]) == (gemini, status)
    assert told["aws-bedrock"]["__type"] == bedrock
    assert error_bodies.headers(kind, status, "aws-bedrock") == {"x-amzn-ErrorType": bedrock}
    assert error_bodies.headers(kind, status, "openai") == {}


def test_an_event_in_a_stream_is_framed_as_the_family_streams():
    """Server-sent, with a name for Anthropic's; a line of JSON; a frame of AWS's."""
    error = ExchangeError(Kind.CLOSED, "it broke off", code="why")
    events = {name: error_bodies.event(error, name, "0123") for name in SPOKEN_TO}
    for name in ("openai", "azure-openai", "gemini"):
        assert events[name].startswith(b"data: {")
        assert error_in(name, events[name].removeprefix(b"data: "))["message"] == "it broke off"
    assert events["anthropic"].startswith(b"event: error\ndata: {")
    assert error_in("ollama", events["ollama"])["message"] == "it broke off"
    assert all(event.endswith(b"\n\n") for name, event in events.items() if name not in {"ollama", "aws-bedrock"})
    reader = CONVERSE.stream_reader()
    reader.feed(events["aws-bedrock"])
    assert (reader.answered().error_message, reader.unread) == ("it broke off", 0)


DOORS = {
    "openai": ("/v1/chat/completions", "/openai/v1/nowhere/x"),
    "anthropic": ("/v1/messages", "/v1/messages/batches"),
    "gemini": ("/v1beta/models/g:streamGenerateContent?alt=sse", "/v1beta/files"),
    "ollama": ("/api/chat", "/api/tags"),
    "aws-bedrock": ("/model/x:0/converse", "/model/x/invoke"),
    "azure-openai": ("/openai/deployments/d/chat/completions?api-version=1", "/openai/deployments/d/images/edits"),
}
NOBODY = "".join(
    f'[providers.{name}]\nbase_url = "http://127.0.0.1:9"\n' + ("api_key = 'k'\n" if name == "aws-bedrock" else "")
    for name in ("openai", "anthropic", "gemini", "ollama", "aws-bedrock", "azure-openai")
)


@pytest.mark.parametrize(("family", "path"), [(name, path) for name, paths in DOORS.items() for path in paths])
async def test_a_provider_out_of_reach_is_told_at_every_front_door(tmp_path: Path, family, path):
    """With the status 502, the provider and its setting; whether the path is read or only relayed."""
    toml = NOBODY + "[retry]\nmax_tries = 1\n"
    async with InProcess(tmp_path / "data", toml) as gateway:
        answer = await exchange(gateway.url, request("POST", path, [("Content-Type", "application/json")], b"{}"))
        assert answer.status == 502
        said = error_in(family, answer.body)
        assert f"$.providers.{family}.base_url" in str(said["message"])
        assert gateway.exchange()["outcome"] == "sending"
        if family == "aws-bedrock":
            assert answer.values(b"x-amzn-errortype") == [b"ServiceUnavailableException"]


BEGUN = {
    "openai": ("text/event-stream", b'data: {"id":"1"}\n\n'),
    "anthropic": ("text/event-stream", b'event: ping\ndata: {"type":"ping"}\n\n'),
    "gemini": ("text/event-stream", b'data: {"responseId":"1"}\r\n\r\n'),
    "ollama": ("application/x-ndjson", b'{"model":"m"}\n'),
}


async def test_an_array_of_googles_is_not_added_to(upstream: Upstream, tmp_path: Path):
    """A stream that comes as one JSON value has no place for an event: it just ends."""
    upstream.answers(stream([b'[{"responseId":"1"}\n'], content_type="application/json", end=CLOSE))
    toml = f'[providers.gemini]\nbase_url = "{upstream.url}"\n'
    async with InProcess(tmp_path / "data", toml) as gateway:
        path = "/v1beta/models/g:streamGenerateContent"
        answer = await exchange(gateway.url, request("POST", path, [], b'{"contents":[]}'))
        assert (answer.body, answer.whole) == (b'[{"responseId":"1"}\n', False)


@pytest.mark.parametrize("family", BEGUN)
async def test_a_stream_that_breaks_off_says_so_in_its_own_framing(upstream: Upstream, tmp_path: Path, family):
    """The client's reader finds an event of ours after the provider's last one, and the end is no good one."""
    kind, begun = BEGUN[family]
    upstream.answers(stream([begun], content_type=kind, end=CLOSE))
    toml = f'[providers.{family}]\nbase_url = "{upstream.url}"\n'
    body = b'{"model":"m","stream":true,"messages":[],"contents":[]}'
    async with InProcess(tmp_path / "data", toml) as gateway:
        path = DOORS[family][0]
        answer = await exchange(gateway.url, request("POST", path, [("Content-Type", "application/json")], body))
        assert (answer.status, answer.whole) == (200, False)
        assert answer.body.startswith(begun)
        told = answer.body.removeprefix(begun).removeprefix(b"event: error\n").removeprefix(b"data: ")
        assert "$.providers" in str(error_in(family, told)["message"])
        assert gateway.attempt()["outcome"] == "upstream_abort"
