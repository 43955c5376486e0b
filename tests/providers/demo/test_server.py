"""The demo provider answers the real SDKs as their own providers do."""

import anthropic
import openai
import pytest

from gateway.providers.demo.server import MODELS, DemoProvider


@pytest.fixture(name="url")
async def _url():
    provider = DemoProvider(pace=0.0)
    yield await provider.start()
    await provider.stop()


@pytest.fixture(name="oai")
async def _oai(url):
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(name="claude")
async def _claude(url):
    async with anthropic.AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key="none", max_retries=0) as client:
        yield client


HELLO = [{"role": "user", "content": "Hello there"}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}


async def test_chat_is_the_same_whole_and_streamed(oai):
    """A stream's pieces make up the whole answer, and its usage comes when it is asked for."""
    whole = await oai.chat.completions.create(model="chat", messages=HELLO)
    text, usage = "", None
    stream = await oai.chat.completions.create(
        model="chat", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = chunk.usage or usage
    assert text == whole.choices[0].message.content
    assert usage == whole.usage


async def test_a_tool_is_called_and_its_result_answered(oai):
    """Asked for a tool it calls the one offered; after the result it answers with text."""
    tools = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    asked = [{"role": "user", "content": "use the tool"}]
    first = await oai.chat.completions.create(model="chat", messages=asked, tools=tools)
    call = first.choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Lisbon"}')
    asked += [first.choices[0].message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    second = await oai.chat.completions.create(model="chat", messages=asked, tools=tools)
    assert second.choices[0].message.content


async def test_responses_whole_and_streamed(oai):
    """The Responses API's text and its final event agree."""
    whole = await oai.responses.create(model="reasoning", input="Hello")
    assert whole.usage.output_tokens_details.reasoning_tokens == 64
    async with oai.responses.stream(model="reasoning", input="Hello") as stream:
        async for _event in stream:
            pass
        final = await stream.get_final_response()
    assert final.output_text == whole.output_text


async def test_messages_whole_streamed_and_with_tools(claude):
    """Anthropic's SDK puts the stream together to the same message."""
    options = {"model": "chat", "max_tokens": 100, "messages": HELLO}
    whole = await claude.messages.create(**options)
    async with claude.messages.stream(**options) as stream:
        final = await stream.get_final_message()
    assert final.content[0].text == whole.content[0].text
    assert final.usage.output_tokens == whole.usage.output_tokens
    tools = [{"name": "weather", "input_schema": WEATHER}]
    asked = [{"role": "user", "content": "use the tool"}]
    called = await claude.messages.create(model="chat", max_tokens=100, messages=asked, tools=tools)
    assert (called.content[0].name, called.content[0].input) == ("weather", {"city": "Lisbon"})
    assert (await claude.messages.count_tokens(model="chat", messages=HELLO)).input_tokens > 0


async def test_embeddings_and_models(oai):
    """Embeddings come as numbers, and all models are listed."""
    assert len((await oai.embeddings.create(model="embed", input=["a", "b"])).data[1].embedding) == 8
    assert {model.id async for model in oai.models.list()} == set(MODELS)


async def test_failures_are_what_the_models_name_says(oai, claude):
    """Errors are of the SDK's own classes, and those that pass do so at the second try."""
    with pytest.raises(openai.InternalServerError):
        await oai.chat.completions.create(model="flaky", messages=HELLO)
    assert await oai.chat.completions.create(model="flaky", messages=HELLO)
    with pytest.raises(openai.RateLimitError) as limited:
        await oai.chat.completions.create(model="rate-limited", messages=HELLO)
    assert limited.value.response.headers["retry-after"] == "1"
    assert await oai.chat.completions.create(model="rate-limited", messages=HELLO)
    with pytest.raises(anthropic.NotFoundError):
        await claude.messages.create(model="nope", max_tokens=1, messages=HELLO)


async def test_a_broken_stream_breaks(oai):
    """The connection ends before the stream's own end."""
    stream = await oai.chat.completions.create(model="broken-stream", messages=HELLO, stream=True)
    with pytest.raises(Exception, match=r"peer closed connection|Connection error") as broken:
        async for _chunk in stream:
            pass
    assert type(broken.value).__name__ in {"RemoteProtocolError", "ReadError", "APIConnectionError"}


async def test_usage_may_be_missing(oai):
    """`no-usage` says nothing of tokens."""
    assert (await oai.chat.completions.create(model="no-usage", messages=HELLO)).usage is None
