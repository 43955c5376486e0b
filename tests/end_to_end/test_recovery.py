"""Groq's refusals that have the answer in them: the client gets that, whatever it speaks, and so does the trace."""

import gzip
import json
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.support.gateways import InProcess
from tests.support.raw_http import Answer, exchange, request
from tests.support.upstream import Step, Upstream, reply

GENERATED = '<function=add>{"a": 1, "b": "two"}</function>'
ARGUMENTS = {"a": 1, "b": "two"}
JSON = ("Content-Type", "application/json")
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]


def refusal(generated: str = GENERATED, code: str = "tool_use_failed") -> dict[str, Any]:
    """Make Groq's refusal."""
    error = {"message": "Failed to call a function.", "type": "invalid_request_error", "code": code}
    return {"error": error | {"failed_generation": generated}}


def refused(*more: Any, headers: list[tuple[str, str]] | None = None) -> list[Step]:
    """Answer with it."""
    return reply(refusal(*more), "400 Bad Request", [("x-request-id", "req_1"), *(headers or [])])


def to(upstream: Upstream, more: str = "") -> str:
    """Return a configuration of Groq, and of another provider at the same place."""
    return (
        f'{more}[providers.groq]\nbase_url = "{upstream.url}/openai/v1"\n'
        f'[providers.other]\nbase_url = "{upstream.url}/openai/v1"\n'
    )


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, tmp_path: Path):
    upstream.answers(refused())
    async with InProcess(tmp_path / "data", to(upstream)) as gateway:
        yield gateway


def chat(**more: Any) -> dict[str, Any]:
    """Return a chat request with a tool."""
    return {"model": "groq/llama", "messages": [{"role": "user", "content": "add"}], "tools": TOOLS, **more}


async def post(gateway: InProcess, path: str, body: dict[str, Any]) -> Answer:
    """Post JSON."""
    return await exchange(gateway.url, request("POST", path, [JSON], json.dumps(body).encode()))


def recorded(gateway: InProcess) -> None:
    """Require that the trace has an answer, from one attempt, and that this was a refusal."""
    root, attempt = gateway.exchange(), gateway.attempt()
    assert (root["outcome"], root["http_status"], root["attempts"]) == ("ok", 200, 1)
    assert (attempt["outcome"], attempt["http_status"]) == ("ok", 400)
    assert attempt["attributes"]["gateway.attempt.recovered"] is True
    assert not {"error", "error_type"} & attempt.keys()
    assert attempt["finish_reasons"] == ["tool_calls"]
    (message,) = attempt["output_messages"]
    (call,) = message["parts"]
    assert (call["type"], call["name"], call["arguments"]) == ("tool_call", "add", ARGUMENTS)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/groq/openai/v1/chat/completions"])
async def test_openais_sdk_gets_the_call(upstream: Upstream, gateway: InProcess, path, streamed):
    """As Groq would have answered, in a stream where one was asked for; the provider's own headers are there."""
    base, model = (
        (f"{gateway.url}/v1", "groq/llama") if path.startswith("/v1") else (f"{gateway.url}/groq/openai/v1", "llama")
    )
    async with openai.AsyncOpenAI(base_url=base, api_key="k", max_retries=0) as client:
        asked: dict[str, Any] = chat(model=model)
        if streamed:
            async with client.chat.completions.stream(**asked) as events:
                completion = await events.get_final_completion()
        else:
            raw = await client.chat.completions.with_raw_response.create(**asked)
            assert raw.headers["x-request-id"] == "req_1"
            completion = raw.parse()
    (choice,) = completion.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", ARGUMENTS)
    assert len(upstream.asked) == 1
    recorded(gateway)


@pytest.mark.parametrize("streamed", [False, True])
async def test_anthropics_sdk_gets_the_call(gateway: InProcess, streamed):
    """Translated like any answer; what the request lost on the way is named."""
    asked: dict[str, Any] = {
        "model": "groq/llama",
        "max_tokens": 9,
        "extra_body": {"top_k": 3},
        "messages": [{"role": "user", "content": "add"}],
        "tools": [{"name": "add", "input_schema": {"type": "object"}}],
    }
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="k", max_retries=0) as client:
        if streamed:
            async with client.messages.stream(**asked) as events:
                message = await events.get_final_message()
                dropped = events.response.headers["x-gateway-dropped"]
        else:
            raw = await client.messages.with_raw_response.create(**asked)
            message, dropped = await raw.parse(), raw.headers["x-gateway-dropped"]
    (block,) = message.content
    assert (message.stop_reason, block.type, block.name, block.input) == ("tool_use", "tool_use", "add", ARGUMENTS)
    assert dropped == "top_k"
    assert gateway.attempt()["attributes"]["gateway.dropped"] == ["top_k"]
    recorded(gateway)


DOORS: dict[str, tuple[dict[str, Any], bytes]] = {
    "/v1/responses": ({"model": "groq/llama", "input": "add"}, b'"function_call"'),
    "/api/chat": ({"model": "groq/llama", "messages": [{"role": "user", "content": "add"}]}, b'"tool_calls"'),
    "/v1beta/models/groq/llama:generateContent": (
        {"contents": [{"role": "user", "parts": [{"text": "add"}]}]},
        b'"functionCall"',
    ),
    "/model/groq%2Fllama/converse": ({"messages": [{"role": "user", "content": [{"text": "add"}]}]}, b'"toolUse"'),
}


@pytest.mark.parametrize("path", DOORS)
async def test_every_front_door_gets_the_call(gateway: InProcess, path):
    """In its own words."""
    body, mark = DOORS[path]
    answer = await post(gateway, path, body)
    assert answer.status == 200
    assert mark in answer.body
    assert b'"two"' in answer.body or b'\\"two\\"' in answer.body
    recorded(gateway)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_is_recovered_whatever_is_recorded(upstream: Upstream, tmp_path: Path, streamed):
    """Where nothing is kept of content the client's answer is the same, with the model that was asked."""
    upstream.answers(refused())
    async with InProcess(tmp_path / "data", to(upstream, "[capture]\nstore = 'off'\n")) as gateway:
        answer = await post(gateway, "/v1/chat/completions", chat(stream=streamed))
        assert (answer.status, answer.whole) == (200, True)
        assert answer.body.endswith(b"data: [DONE]\n\n") == streamed
        assert b'"model":"groq/llama"' in answer.body or b'"model":"llama"' in answer.body
        assert (gateway.attempt()["outcome"], "output_messages" in gateway.attempt()) == ("ok", False)


async def test_a_coded_refusal_is_read(upstream: Upstream, gateway: InProcess):
    """And the answer is in no coding."""
    body = gzip.compress(json.dumps(refusal()).encode())
    upstream.answers(reply(body, "400 X", [("Content-Encoding", "gzip"), ("ETag", "e")]))
    answer = await post(gateway, "/v1/chat/completions", chat())
    assert json.loads(answer.body)["choices"][0]["finish_reason"] == "tool_calls"
    assert (answer.values(b"content-encoding"), answer.values(b"etag")) == ([], [])
    recorded(gateway)


@pytest.mark.parametrize(
    ("model", "script"),
    [
        ("other/llama", refused()),  # only Groq is known for it
        ("groq/llama", refused("I cannot do that.")),
        ("groq/llama", refused(GENERATED, "json_validate_failed")),
        ("groq/llama", reply({"error": {"message": "no", "code": "tool_use_failed"}}, "400 X")),
    ],
)
async def test_any_other_error_passes_as_it_is(upstream: Upstream, gateway: InProcess, model, script):
    """Byte for byte, recorded as the error that it is."""
    upstream.answers(script)
    answer = await post(gateway, "/v1/chat/completions", chat(model=model))
    assert answer.status == 400
    assert script[0].endswith(b"\r\n\r\n" + answer.body)
    attempt = gateway.attempt()
    assert (attempt["outcome"], "gateway.attempt.recovered" in attempt["attributes"]) == ("bad_input", False)
