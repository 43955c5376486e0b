"""Agents' sessions of several turns: what a provider must see again, its clients of any dialect bring back to it.

A model's thinking is proven by what only its provider can read (a signature, an encrypted form), and some refuse a
turn that comes back without it. Clients of other dialects carry it where they send back what they do not read.
"""

import json
from typing import Any

import anthropic
import openai
import pytest
from google.genai import types

from tests.matrix.clients import google_client
from tests.matrix.scenes import BUDGET, INPUT, OUTPUT, PARIS, WEATHER, Completion
from tests.matrix.upstreams import UPSTREAMS
from tests.matrix.upstreams_claude import SIGNATURE
from tests.support.gateways import InProcess
from tests.support.sdks import KEY, facts, recorded
from tests.support.upstream import Upstream

pytestmark = pytest.mark.integration

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")  # of Google's package

SAIDS = (
    Completion(thought=("They ", "ask."), text=("Let me ", "look."), calls=(PARIS,), finish="tool_calls"),
    Completion(text=("17 °C ", "it is.")),
)
MARK: Any = {"type": "ephemeral"}


async def claude_code(url: str, model: str, *, stream: bool) -> str:
    """Work as Claude Code does, and return the last text."""
    asked: list[Any] = [
        {"role": "user", "content": [{"type": "text", "text": "How is it in Paris?", "cache_control": MARK}]}
    ]
    options: dict[str, Any] = {
        "model": model,
        "max_tokens": 32000,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.0"},
            {"type": "text", "text": "You are an agent.", "cache_control": MARK},
        ],
        "thinking": {"type": "enabled", "budget_tokens": BUDGET},
        "tools": [{"name": PARIS.name, "description": "Tell the weather", "input_schema": WEATHER}],
        "metadata": {"user_id": "user_1_account_2_session_3"},
        "extra_headers": {"anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14"},
        "extra_query": {"beta": "true"},
        "timeout": 30.0,
    }
    async with anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as client:
        while True:
            if stream:
                async with client.messages.stream(messages=asked, **options) as streamed:
                    message = await streamed.get_final_message()
            else:
                message = await client.messages.create(messages=asked, **options)
            calls = [block for block in message.content if block.type == "tool_use"]
            if not calls:
                return "".join(block.text for block in message.content if block.type == "text")
            results: list[Any] = [
                {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "17 °C"}]}
                for call in calls
            ]
            results[-1]["cache_control"] = MARK
            asked += [message.model_dump(include={"role", "content"}, exclude_none=True)]
            asked += [{"role": "user", "content": results}]


async def codex(url: str, model: str, *, stream: bool) -> str:
    """Work as Codex does."""
    question = {"type": "input_text", "text": "How is it in Paris?"}
    asked: list[Any] = [{"type": "message", "role": "user", "content": [question]}]
    options: dict[str, Any] = {
        "model": model,
        "instructions": "You are an agent.",
        "reasoning": {"effort": "high", "summary": "auto"},
        "tools": [
            {
                "type": "function",
                "name": PARIS.name,
                "description": "Tell the weather",
                "parameters": WEATHER,
                "strict": False,
            },
            {"type": "custom", "name": "apply_patch", "description": "Edits files."},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "thread-1",
    }
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        while True:
            if stream:
                async with client.responses.stream(input=asked, **options) as streamed:
                    response: Any = await streamed.get_final_response()
            else:
                response = await client.responses.create(input=asked, **options)
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                return str(response.output_text)
            asked += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output]
            asked += [{"type": "function_call_output", "call_id": call.call_id, "output": "17 °C"} for call in calls]


async def chatting(url: str, model: str, *, stream: bool) -> str:
    """Work as an agent that sends back all that a chat completion's message has."""
    asked: list[Any] = [
        {"role": "system", "content": "You are an agent."},
        {"role": "user", "content": "How is it in Paris?"},
    ]
    function = {"name": PARIS.name, "description": "Tell the weather", "parameters": WEATHER}
    options: dict[str, Any] = {
        "model": model,
        "reasoning_effort": "high",
        "tools": [{"type": "function", "function": function}],
    }
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        while True:
            if stream:
                message = await _gathered(await client.chat.completions.create(messages=asked, stream=True, **options))
            else:
                whole = await client.chat.completions.create(messages=asked, **options)
                message = whole.choices[0].message.model_dump(exclude_none=True)
            if not message.get("tool_calls"):
                return str(message["content"])
            asked.append(message)
            asked += [{"role": "tool", "tool_call_id": c["id"], "content": "17 °C"} for c in message["tool_calls"]]


async def _gathered(chunks: Any) -> dict[str, Any]:
    """Put a message together from its deltas, which the SDK does only for the fields that it knows."""
    message: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": []}
    async for chunk in chunks:
        for choice in chunk.choices:
            delta = choice.delta.model_dump(exclude_none=True)
            message["content"] += delta.get("content", "")
            for call in delta.get("tool_calls", []):
                if "id" in call:
                    message["tool_calls"].append({key: value for key, value in call.items() if key != "index"})
                else:
                    message["tool_calls"][-1]["function"]["arguments"] += call["function"]["arguments"]
                    message["tool_calls"][-1] |= {k: v for k, v in call.items() if k not in {"index", "function"}}
            if thought := delta.get("reasoning_content"):
                message["reasoning_content"] = message.get("reasoning_content", "") + thought
            for detail in delta.get("reasoning_details", []):
                message.setdefault("reasoning_details", []).append(detail)
    return message


async def gemini(url: str, model: str, *, stream: bool) -> str:
    """Work as an agent with the chats of Google's SDK, which keep each event of a stream as a content of its own."""
    function = types.FunctionDeclaration(
        name=PARIS.name, description="Tell the weather", parameters_json_schema=WEATHER
    )
    config = types.GenerateContentConfig(
        system_instruction="You are an agent.",
        tools=[types.Tool(function_declarations=[function])],
        thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.HIGH, include_thoughts=True),
    )
    message: Any = "How is it in Paris?"
    async with google_client(url) as client:
        chat = client.aio.chats.create(model=model, config=config)
        while True:
            if stream:
                chunks = [chunk async for chunk in await chat.send_message_stream(message)]
            else:
                chunks = [await chat.send_message(message)]
            parts = [p for chunk in chunks for c in chunk.candidates or [] if c.content for p in c.content.parts or []]
            calls = [part.function_call for part in parts if part.function_call]
            if not calls:
                return "".join(part.text or "" for part in parts)
            answer = {"result": "17 °C"}
            answers = [types.FunctionResponse(id=call.id, name=call.name, response=answer) for call in calls]
            message = [types.Part(function_response=each) for each in answers]


AGENTS = {"claude code": claude_code, "codex": codex, "chatting": chatting, "gemini": gemini}


def proofs(provider: str, body: Any) -> list[Any]:
    """Return a request's earlier thoughts with what proves them, in the provider's words; Gemini proves its calls."""
    match provider:
        case "messages":
            blocks = [b for m in body["messages"] if isinstance(m["content"], list) for b in m["content"]]
            return [(block["thinking"], block["signature"]) for block in blocks if block["type"] == "thinking"]
        case "converse":
            blocks = [b["reasoningContent"] for m in body["messages"] for b in m["content"] if "reasoningContent" in b]
            return [(block["reasoningText"]["text"], block["reasoningText"]["signature"]) for block in blocks]
        case "responses":
            items = [item for item in body["input"] if item.get("type") == "reasoning"]
            return [("".join(part["text"] for part in item["summary"]), item["encrypted_content"]) for item in items]
        case "gemini":
            parts = [part for content in body["contents"] for part in content["parts"] if "functionCall" in part]
            return [part["thoughtSignature"] for part in parts]
        case "ollama":
            return [message["thinking"] for message in body["messages"] if "thinking" in message]
    return [message["reasoning_content"] for message in body["messages"] if "reasoning_content" in message]


def proven(agent: str, provider: str) -> list[Any]:
    """Return what a provider must see again."""
    match provider:
        case "chat" | "ollama":
            return ["They ask."]
        case "gemini":
            # Anthropic's calls and those of Responses have no place for a signature; Google has one for such calls.
            lost = agent in {"claude code", "codex"}
            return ["skip_thought_signature_validator" if lost else "EpQBCpEB"]
    return [("They ask.", "gAAAAABo" if provider == "responses" else SIGNATURE)]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("provider", UPSTREAMS)
@pytest.mark.parametrize("agent", AGENTS)
async def test_a_session_goes_on(agent: str, provider: str, stream: bool, upstream: Upstream, gateway: InProcess):
    """The model thinks, calls a tool, gets its result and answers; its provider sees again what it had proven."""
    speaks = UPSTREAMS[provider]
    upstream.answer = lambda asked: speaks.answer(SAIDS[len(upstream.asked) - 1], asked)
    assert await AGENTS[agent](gateway.url, speaks.asked_for, stream=stream) == "17 °C it is."
    one, two = upstream.asked
    assert proofs(provider, one.json) == []
    assert proofs(provider, two.json) == proven(agent, provider)
    assert "17 °C" in json.dumps(two.json, ensure_ascii=False)
    for n in range(2):
        root, (attempt,) = recorded(gateway, n)
        assert facts(root, "outcome", "stream", "total_tokens") == ("ok", stream, INPUT + OUTPUT)
        assert attempt["finish_reasons"] == [SAIDS[n].finish]


@pytest.mark.parametrize("provider", UPSTREAMS)
async def test_what_only_anthropic_knows_goes_to_anthropic_alone(provider: str, upstream: Upstream, gateway: InProcess):
    """A beta's header and query stay with its dialect; a user's id and marks of what to cache go where they can."""
    speaks = UPSTREAMS[provider]
    upstream.answer = lambda asked: speaks.answer(SAIDS[len(upstream.asked) - 1], asked)
    await claude_code(gateway.url, speaks.asked_for, stream=True)
    for asked in upstream.asked:
        own = provider == "messages"
        assert (asked.header("anthropic-beta") is not None) == own
        assert asked.target.endswith("?beta=true") == own
        assert (asked.header("anthropic-version") is not None) == own
        assert asked.header(speaks.key[0]) == speaks.key[1]
        assert KEY not in str(asked.headers)
        body = json.dumps(asked.json)
        assert ("user_1_account_2_session_3" in body) == (provider in {"messages", "chat", "responses"})
        marks = {"messages": '"cache_control"', "converse": '"cachePoint"'}
        assert {mark for mark in marks.values() if mark in body} == {marks[each] for each in marks if each == provider}
