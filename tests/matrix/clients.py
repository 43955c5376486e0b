"""SDKs as clients: each sends a case in its own form, and returns the response in a form of no dialect."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anthropic
import ollama
import openai
from google import genai
from google.genai import types
from openai.lib.streaming.chat import ChatCompletionStreamState

from tests.matrix.scenes import BUDGET, EFFORT, Case, Part
from tests.support.sdks import KEY

Delta = tuple[str, str]
Tokens = tuple[int | None, int | None, int | None, int | None]


class Got(NamedTuple):
    """A response as an SDK returned it: `finish` in its own words.

    `usage`: the input, with what was cached; the output, with what was thought; what was cached; what was thought.
    """

    text: str
    thought: str
    calls: list[tuple[str | None, str, Any]]
    finish: str
    usage: Tokens


Ask = Callable[[str, str, Case, bool], AsyncIterator[Delta | Got]]
"""Asks a gateway for a case, of a model, as a stream or not.

It gives the pieces of a stream as they come, then what was got; of a whole response only that.
"""


class FailedError(Exception):
    """An error that an SDK hands to its user as an event, not as an exception."""


async def got(answers: AsyncIterator[Delta | Got]) -> Got:
    """Return what was got at last."""
    *_, last = [each async for each in answers]
    assert isinstance(last, Got)
    return last


def texts(parts: list[Part]) -> str:
    """Return the text of a turn."""
    return "".join(part[1] for part in parts if part[0] == "text")


# OpenAI's chat completions.


def chat_messages(case: Case) -> list[Any]:
    """Return a case's turns as messages."""
    messages: list[Any] = [{"role": "system", "content": case.system}]
    for role, parts in case.turns:
        if role == "tool":
            messages += [{"role": role, "tool_call_id": p[1], "content": p[3]} for p in parts]
        elif role == "assistant":
            calls = [
                {"id": p[1], "type": "function", "function": {"name": p[2], "arguments": json.dumps(p[3])}}
                for p in parts
                if p[0] == "call"
            ]
            messages.append({"role": role, "content": texts(parts), "tool_calls": calls})
        else:
            content = [
                {"type": "text", "text": p[1]}
                if p[0] == "text"
                else {"type": "image_url", "image_url": {"url": f"data:{p[1]};base64,{p[2]}"}}
                for p in parts
            ]
            messages.append({"role": role, "content": content})
    return messages


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, [])}


def _openai_choice(case: Case) -> str | None:
    return "required" if case.choice == "any" else case.choice


async def chat(url: str, model: str, case: Case, stream: bool) -> AsyncIterator[Delta | Got]:
    """Ask for a chat completion."""
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": case.schema, "strict": True}}
    asked = _given(
        model=model,
        messages=chat_messages(case),
        max_completion_tokens=case.max_tokens,
        temperature=case.temperature,
        stop=case.stop,
        reasoning_effort=EFFORT if case.thinks else None,
        tools=[
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.schema}}
            for t in case.tools
        ],
        tool_choice=_openai_choice(case),
        response_format=form if case.schema else None,
    )
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        if stream:
            state: Any = ChatCompletionStreamState()
            thought = ""
            options = {"stream": True, "stream_options": {"include_usage": True}}
            async for chunk in await client.chat.completions.create(**asked, **options):
                state.handle_chunk(chunk)
                for choice in chunk.choices:
                    delta = choice.delta
                    thought += (piece := getattr(delta, "reasoning_content", None) or "")
                    calls = [(call.function.arguments if call.function else "") for call in delta.tool_calls or []]
                    for update in (("thought", piece), ("text", delta.content), *(("call", call) for call in calls)):
                        if update[1]:
                            yield update
            try:
                whole = state.get_final_completion()
            except openai.LengthFinishReasonError as cut:
                whole = cut.completion
        else:
            whole = await client.chat.completions.create(**asked)
            thought = getattr(whole.choices[0].message, "reasoning_content", None) or ""
    (choice,) = whole.choices
    usage = whole.usage
    cached, thinking = usage.prompt_tokens_details, usage.completion_tokens_details
    yield Got(
        text=choice.message.content or "",
        thought=thought,
        calls=[
            (call.id, call.function.name, json.loads(call.function.arguments))
            for call in choice.message.tool_calls or []
        ],
        finish=choice.finish_reason,
        usage=(
            usage.prompt_tokens,
            usage.completion_tokens,
            cached.cached_tokens if cached else None,
            thinking.reasoning_tokens if thinking else None,
        ),
    )


# OpenAI's Responses.


def input_items(case: Case) -> list[Any]:
    """Return a case's turns as items."""
    items: list[Any] = []
    for role, parts in case.turns:
        content = []
        for part in parts:
            match part:
                case ("text", text):
                    content.append({"type": "input_text" if role == "user" else "output_text", "text": text})
                case ("image", kind, data):
                    url = f"data:{kind};base64,{data}"
                    content.append({"type": "input_image", "image_url": url, "detail": "auto"})
        if content:
            items.append({"type": "message", "role": role, "content": content})
        for part in parts:
            match part:
                case ("call", ident, name, value):
                    called = {"call_id": ident, "name": name, "arguments": json.dumps(value)}
                    items.append({"type": "function_call", **called})
                case ("result", ident, _, text):
                    items.append({"type": "function_call_output", "call_id": ident, "output": text})
    return items


async def responses(url: str, model: str, case: Case, stream: bool) -> AsyncIterator[Delta | Got]:
    """Ask for a response."""
    form = {"format": {"type": "json_schema", "name": "place", "schema": case.schema, "strict": True}}
    asked = _given(
        model=model,
        instructions=case.system,
        input=input_items(case),
        max_output_tokens=case.max_tokens,
        temperature=case.temperature,
        reasoning={"effort": EFFORT, "summary": "auto"} if case.thinks else None,
        tools=[
            {"type": "function", "name": t.name, "description": t.description, "parameters": t.schema, "strict": False}
            for t in case.tools
        ],
        tool_choice=_openai_choice(case),
        text=form if case.schema else None,
    )
    words = {
        "response.output_text.delta": "text",
        "response.reasoning_summary_text.delta": "thought",
        "response.function_call_arguments.delta": "call",
    }
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        if stream:
            async with client.responses.stream(**asked) as streamed:
                async for event in streamed:
                    if word := words.get(event.type):
                        yield word, event.delta
                    if event.type == "response.failed":
                        raise FailedError(event.response.error.message)
                    if event.type in {"response.completed", "response.incomplete"}:
                        whole = event.response
        else:
            whole = await client.responses.create(**asked)
    items, usage = whole.output, whole.usage
    yield Got(
        text=whole.output_text,
        thought="".join(part.text for item in items if item.type == "reasoning" for part in item.summary),
        calls=[(i.call_id, i.name, json.loads(i.arguments)) for i in items if i.type == "function_call"],
        finish=whole.incomplete_details.reason if whole.incomplete_details else whole.status,
        usage=(
            usage.input_tokens,
            usage.output_tokens,
            usage.input_tokens_details.cached_tokens,
            usage.output_tokens_details.reasoning_tokens,
        ),
    )


# Anthropic's messages.


def claude_messages(case: Case) -> list[Any]:
    """Return a case's turns as messages."""
    messages = []
    for role, parts in case.turns:
        content: list[Any] = []
        for part in parts:
            match part:
                case ("text", text):
                    content.append({"type": "text", "text": text})
                case ("image", kind, data):
                    source = {"type": "base64", "media_type": kind, "data": data}
                    content.append({"type": "image", "source": source})
                case ("call", ident, name, value):
                    content.append({"type": "tool_use", "id": ident, "name": name, "input": value})
                case ("result", ident, _, text):
                    content.append({"type": "tool_result", "tool_use_id": ident, "content": text})
        messages.append({"role": "assistant" if role == "assistant" else "user", "content": content})
    return messages


async def messages(url: str, model: str, case: Case, stream: bool) -> AsyncIterator[Delta | Got]:
    """Ask for a message."""
    asked = _given(
        model=model,
        system=case.system,
        messages=claude_messages(case),
        max_tokens=case.max_tokens,
        stop_sequences=case.stop,
        thinking={"type": "enabled", "budget_tokens": BUDGET} if case.thinks else None,
        tools=[{"name": t.name, "description": t.description, "input_schema": t.schema} for t in case.tools],
        tool_choice={"type": case.choice} if case.choice else None,
        output_config={"format": {"type": "json_schema", "schema": case.schema}} if case.schema else None,
        timeout=30.0,
    )
    # Which field of a delta has its text, and what it tells.
    words = {
        "text_delta": ("text", "text"),
        "thinking_delta": ("thinking", "thought"),
        "input_json_delta": ("partial_json", "call"),
    }
    async with anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as client:
        if stream:
            async with client.messages.stream(**asked) as streamed:
                async for event in streamed:
                    if event.type == "content_block_delta" and event.delta.type in words:
                        field, word = words[event.delta.type]
                        if piece := getattr(event.delta, field):
                            yield word, piece
                whole = await streamed.get_final_message()
        else:
            whole = await client.messages.create(**asked)
    usage = whole.usage
    details = usage.output_tokens_details
    cached = usage.cache_read_input_tokens
    yield Got(
        text="".join(block.text for block in whole.content if block.type == "text"),
        thought="".join(block.thinking for block in whole.content if block.type == "thinking"),
        calls=[(block.id, block.name, block.input) for block in whole.content if block.type == "tool_use"],
        finish=whole.stop_reason or "",
        usage=(
            usage.input_tokens + (cached or 0) + (usage.cache_creation_input_tokens or 0),
            usage.output_tokens,
            cached,
            details.thinking_tokens if details else None,
        ),
    )


# Google's.


def _contents(case: Case) -> list[types.Content]:
    contents = []
    for role, turn in case.turns:
        parts = []
        for part in turn:
            match part:
                case ("text", text):
                    parts.append(types.Part(text=text))
                case ("image", kind, data):
                    parts.append(types.Part(inline_data=types.Blob(mime_type=kind, data=data)))
                case ("call", _, name, value):
                    signed = None if any(each.function_call for each in parts) else b"\x12\x94"
                    call = types.FunctionCall(name=name, args=value)
                    parts.append(types.Part(function_call=call, thought_signature=signed))
                case ("result", _, name, text):
                    answer = types.FunctionResponse(name=name, response={"result": text})
                    parts.append(types.Part(function_response=answer))
        contents.append(types.Content(role="model" if role == "assistant" else "user", parts=parts))
    return contents


def _config(case: Case) -> types.GenerateContentConfig:
    declared: list[Any] = [
        types.FunctionDeclaration(name=t.name, description=t.description, parameters_json_schema=t.schema)
        for t in case.tools
    ]
    calling = (
        types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode(case.choice.upper())) if case.choice else None
    )
    return types.GenerateContentConfig(
        system_instruction=case.system,
        max_output_tokens=case.max_tokens,
        temperature=case.temperature,
        stop_sequences=case.stop,
        tools=[types.Tool(function_declarations=declared)] if declared else None,
        tool_config=types.ToolConfig(function_calling_config=calling) if calling else None,
        thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.HIGH, include_thoughts=True)
        if case.thinks
        else None,
        response_mime_type="application/json" if case.schema else None,
        response_json_schema=case.schema,
    )


@asynccontextmanager
async def google_client(url: str) -> AsyncIterator[genai.Client]:
    """Make Google's client, without retries."""
    options = types.HttpOptions(base_url=url, retry_options=types.HttpRetryOptions(attempts=1))
    client = genai.Client(api_key=KEY, http_options=options)
    try:
        yield client
    finally:
        await client.aio.aclose()
        client.close()


async def google(url: str, model: str, case: Case, stream: bool) -> AsyncIterator[Delta | Got]:
    """Ask for content."""
    chunks: list[types.GenerateContentResponse] = []
    asked: Any = {"model": model, "contents": _contents(case), "config": _config(case)}
    async with google_client(url) as client:
        if stream:
            async for chunk in await client.aio.models.generate_content_stream(**asked):
                chunks.append(chunk)
                for part in _parts(chunk):
                    if part.text:
                        yield "thought" if part.thought else "text", part.text
                    if part.function_call:
                        yield "call", json.dumps(part.function_call.args)
        else:
            chunks.append(await client.aio.models.generate_content(**asked))
    parts = [part for chunk in chunks for part in _parts(chunk)]
    usage = chunks[-1].usage_metadata
    assert usage is not None
    assert usage.candidates_token_count is not None
    finish = [c.finish_reason for chunk in chunks for c in chunk.candidates or [] if c.finish_reason]
    yield Got(
        text="".join(part.text for part in parts if part.text and not part.thought),
        thought="".join(part.text for part in parts if part.text and part.thought),
        calls=[(call.id, call.name or "", call.args) for part in parts if (call := part.function_call)],
        finish="|".join(finish),
        usage=(
            usage.prompt_token_count,
            usage.candidates_token_count + (usage.thoughts_token_count or 0),
            usage.cached_content_token_count,
            usage.thoughts_token_count,
        ),
    )


def _parts(chunk: types.GenerateContentResponse) -> list[types.Part]:
    return [p for c in chunk.candidates or [] if c.content for p in c.content.parts or []]


# Ollama's.


def _ollama_messages(case: Case) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": case.system}]
    for role, parts in case.turns:
        if role == "tool":
            messages += [{"role": role, "tool_name": p[2], "content": p[3]} for p in parts]
            continue
        message = {"role": role, "content": texts(parts)}
        images = [part[2] for part in parts if part[0] == "image"]
        calls = [{"function": {"name": p[2], "arguments": p[3]}} for p in parts if p[0] == "call"]
        messages.append({**message, **_given(images=images, tool_calls=calls)})
    return messages


async def ollama_chat(url: str, model: str, case: Case, stream: bool) -> AsyncIterator[Delta | Got]:
    """Ask for a chat."""
    asked: Any = _given(
        model=model,
        messages=_ollama_messages(case),
        tools=[
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.schema}}
            for t in case.tools
        ],
        think=EFFORT if case.thinks else None,
        format=case.schema,
        options=_given(num_predict=case.max_tokens, temperature=case.temperature, stop=case.stop),
    )
    lines: list[Any] = []
    async with ollama.AsyncClient(host=url) as client:
        if stream:
            async for line in await client.chat(**asked, stream=True):
                lines.append(line)
                for word, piece in (("thought", line.message.thinking), ("text", line.message.content)):
                    if piece:
                        yield word, piece
                for call in line.message.tool_calls or []:
                    yield "call", json.dumps(call.function.arguments)
        else:
            lines.append(await client.chat(**asked))
    last = lines[-1]
    assert last.done
    yield Got(
        text="".join(line.message.content or "" for line in lines),
        thought="".join(line.message.thinking or "" for line in lines),
        calls=[(None, c.function.name, c.function.arguments) for line in lines for c in line.message.tool_calls or []],
        finish=last.done_reason,
        usage=(last.prompt_eval_count, last.eval_count, None, None),
    )


PYTHON: dict[str, Ask] = {
    "chat": chat,
    "responses": responses,
    "messages": messages,
    "google": google,
    "ollama": ollama_chat,
}
"""The Python SDKs by their names in the matrix."""
