"""Coding agents' sessions, as they are sent, against providers of another dialect than theirs."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.support.gateways import InProcess
from tests.support.raw_http import exchange, request
from tests.support.upstream import Asked, Step, Upstream, reply, stream

LOCAL = '[providers.{name}]\nbase_url = "{url}/v1"\ndialect = "{dialect}"\nprefix = "local/"\n[retry]\nmax_tries = 1\n'
PATCH = "*** Begin Patch\n*** Update File: a.py\n-x\n+y\n*** End Patch"


def chat_stream(*deltas: dict[str, Any], reason: str) -> list[Step]:
    """Return a chat completion's stream."""
    chunks = [{"delta": delta, "finish_reason": None} for delta in deltas] + [{"delta": {}, "finish_reason": reason}]
    events = [
        b"data: %b\n\n" % json.dumps({"id": "c1", "model": "big", "choices": [{"index": 0, **chunk}]}).encode()
        for chunk in chunks
    ]
    usage = {"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57}
    told = b"data: %b\n\n" % json.dumps({"id": "c1", "model": "big", "choices": [], "usage": usage}).encode()
    return stream([*events, told, b"data: [DONE]\n\n"])


def chat_call(ident: str, name: str, arguments: Any) -> list[Step]:
    """Return a stream with one tool call, its arguments in two pieces."""
    text = json.dumps(arguments)
    call = {"index": 0, "id": ident, "type": "function", "function": {"name": name, "arguments": ""}}
    pieces = [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in (text[:9], text[9:])]
    return chat_stream({"role": "assistant", "tool_calls": [call]}, *pieces, reason="tool_calls")


def message(*blocks: dict[str, Any], reason: str) -> list[Step]:
    """Return a whole message of Anthropic's."""
    usage = {"input_tokens": 50, "output_tokens": 7}
    return reply(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "big",
            "content": list(blocks),
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage,
        }
    )


@pytest.fixture(name="chat")
async def _chat(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a gateway whose models `local/...` are at a provider of OpenAI's chat completions."""
    toml = LOCAL.format(name="local", url=upstream.url, dialect="openai-chat")
    async with InProcess(tmp_path / "data", toml) as gateway:
        yield gateway


@pytest.fixture(name="messages")
async def _messages(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a gateway whose models `local/...` are at a provider of Anthropic's messages."""
    toml = LOCAL.format(name="local", url=upstream.url, dialect="anthropic-messages")
    async with InProcess(tmp_path / "data", toml) as gateway:
        yield gateway


MARK = {"type": "ephemeral"}
READ = {
    "name": "Read",
    "description": "Reads a file.",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    "cache_control": MARK,
}


async def test_an_agent_of_anthropics_works_with_a_chat_provider(upstream: Upstream, chat: InProcess):
    """System blocks, cache marks, a tool loop and a user id over two turns: the provider is asked in its own words."""
    upstream.answers(chat_call("call_1", "Read", {"path": "a.py"}), chat_stream({"content": "Done."}, reason="stop"))
    system = [
        {"type": "text", "text": "You are an agent.", "cache_control": MARK},
        {"type": "text", "text": "Be kind."},
    ]
    asked: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "Mend a.py", "cache_control": MARK}]}]
    options: dict[str, Any] = {
        "model": "local/big",
        "max_tokens": 500,
        "system": system,
        "tools": [READ],
        "metadata": {"user_id": "user_1"},
        "extra_headers": {"anthropic-beta": "interleaved-thinking-2025-05-14"},
        "extra_query": {"beta": "true"},
    }
    async with anthropic.AsyncAnthropic(base_url=chat.url, api_key="k", max_retries=0) as client:
        async with client.messages.stream(messages=asked, **options) as told:
            first = await told.get_final_message()
        assert first.stop_reason == "tool_use"
        (call,) = first.content
        assert (call.name, call.input) == ("Read", {"path": "a.py"})
        result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "x = 1"}]}
        asked += [{"role": "assistant", "content": [call.to_dict()]}, {"role": "user", "content": [result]}]
        async with client.messages.stream(messages=asked, **options) as told:
            second = await told.get_final_message()
    assert [block.text for block in second.content] == ["Done."]
    assert (second.usage.input_tokens, second.usage.output_tokens) == (50, 7)
    one, two = (each.json for each in upstream.asked)
    assert [each.target for each in upstream.asked] == ["/v1/chat/completions"] * 2
    assert upstream.asked[0].header("anthropic-beta") is None
    assert one["messages"][0]["role"] == "system"
    assert "You are an agent." in json.dumps(one["messages"][0])
    assert one["tools"][0]["function"]["parameters"] == READ["input_schema"]
    assert one["max_tokens"] == 500
    assert [each["role"] for each in two["messages"]] == ["system", "user", "assistant", "tool"]
    assert two["messages"][2]["tool_calls"][0]["id"] == two["messages"][3]["tool_call_id"] == call.id
    assert two["messages"][3]["content"] == "x = 1"
    rows = chat.ask("SELECT dialect, user_id, output_tokens, outcome FROM exchanges")
    assert rows == [("anthropic-messages", "user_1", 7, "ok")] * 2


def codex(*more: dict[str, Any]) -> dict[str, Any]:
    """Return a request as Codex shapes it."""
    return {
        "model": "local/big",
        "instructions": "You are an agent.",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Mend a.py"}]}, *more],
        "tools": [
            {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}, "strict": False},
            {"type": "custom", "name": "apply_patch", "description": "Edits files."},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "thread-1",
    }


async def test_an_agent_of_responses_works_with_a_chat_provider(upstream: Upstream, chat: InProcess):
    """A custom tool is a function to the provider and custom to the client, its text as it streams; then its result."""
    upstream.answers(
        chat_call("call_1", "apply_patch", {"input": PATCH}), chat_stream({"content": "Done."}, reason="stop")
    )
    async with openai.AsyncOpenAI(base_url=f"{chat.url}/v1", api_key="k", max_retries=0) as client:
        grown = ""
        async with client.responses.stream(**codex()) as told:
            async for event in told:
                if event.type == "response.custom_tool_call_input.delta":
                    grown += event.delta
            first = await told.get_final_response()
        (call,) = first.output
        assert (call.type, call.name, call.input, grown) == ("custom_tool_call", "apply_patch", PATCH, PATCH)
        back = [
            {"type": "custom_tool_call", "call_id": call.call_id, "name": call.name, "input": call.input},
            {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "ok"},
        ]
        second = await client.responses.create(**codex(*back), stream=True)
        texts = [event.response.output_text async for event in second if event.type == "response.completed"]
    assert texts == ["Done."]
    one, two = (each.json for each in upstream.asked)
    assert [tool["function"]["name"] for tool in one["tools"]] == ["shell", "apply_patch"]
    assert one["messages"][0] == {"role": "system", "content": "You are an agent."}
    assert json.loads(two["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"input": PATCH}
    assert (two["messages"][3]["role"], two["messages"][3]["content"]) == ("tool", "ok")


async def test_an_agent_of_responses_works_with_an_anthropic_provider(upstream: Upstream, messages: InProcess):
    """The same session, whole: blocks go up, and items come back."""
    use = {"type": "tool_use", "id": "toolu_1", "name": "apply_patch", "input": {"input": PATCH}}
    upstream.answers(message(use, reason="tool_use"), message({"type": "text", "text": "Done."}, reason="end_turn"))
    async with openai.AsyncOpenAI(base_url=f"{messages.url}/v1", api_key="k", max_retries=0) as client:
        first = await client.responses.create(**codex())
        (call,) = first.output
        assert (call.type, call.name, call.input) == ("custom_tool_call", "apply_patch", PATCH)
        back = [
            {"type": "custom_tool_call", "call_id": call.call_id, "name": call.name, "input": call.input},
            {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "ok"},
        ]
        second = await client.responses.create(**codex(*back))
    assert second.output_text == "Done."
    one, two = (each.json for each in upstream.asked)
    assert one["system"] == "You are an agent."
    assert [tool["name"] for tool in one["tools"]] == ["shell", "apply_patch"]
    assert one["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert two["messages"][1]["content"][0]["input"] == {"input": PATCH}
    assert two["messages"][2]["content"][0]["tool_use_id"] == two["messages"][1]["content"][0]["id"]


async def test_a_responses_body_on_the_chat_path_is_answered_as_that_path_does(upstream: Upstream, chat: InProcess):
    """Cursor sends such bodies to /chat/completions, and reads chat completions."""

    def answer(asked: Asked) -> list[Step]:
        assert [each["role"] for each in asked.json["messages"]] == ["system", "user"]
        whole = {"role": "assistant", "content": "Hello."}
        return reply({"id": "c", "model": "big", "choices": [{"index": 0, "message": whole, "finish_reason": "stop"}]})

    upstream.answer = answer
    body = {"model": "local/big", "instructions": "Be kind.", "input": "Hi"}
    data = request("POST", "/v1/chat/completions", [("Content-Type", "application/json")], json.dumps(body).encode())
    told = json.loads((await exchange(chat.url, data)).body)
    assert (told["object"], told["choices"][0]["message"]["content"]) == ("chat.completion", "Hello.")
