"""Vocabularies: the same facts under the names each consumer reads; nothing is lost, and all of it fits a span."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.config.model import Capture, VocabularyName
from gateway.semconv import ATTEMPT_PROMOTED
from gateway.store.otlp.content import Facts, flat, listed, nested
from gateway.store.otlp.rows import span_of
from gateway.store.otlp.vocabularies import attributes_in
from tests.support.gateways import Process
from tests.support.otlp_receiver import Receiver, attributes_of
from tests.support.raw_http import exchange, request

NAMES: tuple[VocabularyName, ...] = get_args(VocabularyName)
ATTEMPT = Facts("CLIENT", 1_700_000_000_000_000_000, 2_345_678_901)
EXCHANGE = Facts("SERVER", 1_700_000_000_000_000_000, 2_345_678_901)

ASKED = [
    {"role": "user", "parts": [{"type": "text", "content": "What is the weather in Rome?"}]},
    {
        "role": "assistant",
        "parts": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Rome"}}],
    },
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "sunny"}]},
]
ANSWERED = [{"role": "assistant", "parts": [{"type": "text", "content": "It is sunny."}], "finish_reason": "stop"}]
SYSTEM = [{"type": "text", "content": "You are terse."}]
TOOLS = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]
CALL = {
    "http.request.method": "POST",
    "gateway.provider": "azure-openai",
    "gateway.outcome": "ok",
    "session.id": "s1",
    "user.id": "u1",
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "azure.ai.openai",
    "gen_ai.request.model": "gpt-5.4-mini",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.top_k": 3,
    "gen_ai.request.stop_sequences": ["END", "STOP"],
    "gen_ai.response.model": "gpt-5.4-mini-2026",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.response.time_to_first_chunk": 0.25,
    "gen_ai.usage.input_tokens": 20,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.usage.total_tokens": 25,
    "gen_ai.usage.cache_read.input_tokens": 8,
    "gen_ai.usage.cache_write.input_tokens": 4,
    "gen_ai.usage.reasoning.output_tokens": 2,
    "gen_ai.system_instructions": json.dumps(SYSTEM),
    "gen_ai.input.messages": json.dumps(ASKED),
    "gen_ai.output.messages": json.dumps(ANSWERED),
    "gen_ai.tool.definitions": json.dumps(TOOLS),
}


def test_todays_names_have_older_ones_beside_them():
    """The default says all as it is, and beside it what Phoenix, Jaeger, older views and Langfuse read."""
    said = attributes_in("gen-ai", CALL, ATTEMPT)
    assert said == CALL | {
        "gen_ai.system": "azure.ai.openai",
        "gen_ai.usage.cache_creation.input_tokens": 4,
        "langfuse.observation.completion_start_time": "2023-11-14T22:13:20.250000+00:00",
    }


def test_version_1_37_has_no_later_name_below_gen_ai():
    """What that version does not know moves below `gateway.`; top_k is a double there; gen_ai.system is still said."""
    said = attributes_in("gen-ai-1.37", CALL, ATTEMPT)
    assert said["gen_ai.system"] == said["gen_ai.provider.name"] == "azure.ai.openai"
    assert (said["gen_ai.request.top_k"], type(said["gen_ai.request.top_k"])) == (3.0, float)
    assert said["gen_ai.input.messages"] == CALL["gen_ai.input.messages"]
    assert {name for name in said if name.startswith("gateway.gen_ai.")} == {
        "gateway.gen_ai.response.time_to_first_chunk",
        "gateway.gen_ai.usage.total_tokens",
        "gateway.gen_ai.usage.cache_read.input_tokens",
        "gateway.gen_ai.usage.cache_write.input_tokens",
        "gateway.gen_ai.usage.reasoning.output_tokens",
        "gateway.gen_ai.tool.definitions",
    }
    assert "gen_ai.usage.total_tokens" not in said


def test_openinference_has_messages_tools_and_tokens_flat():
    """Phoenix finds kind, model, provider, messages, tool calls, tools, tokens, parameters, session and user."""
    said = attributes_in("openinference", CALL, ATTEMPT)
    assert said == {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-5.4-mini-2026",
        "llm.request.model_name": "gpt-5.4-mini",
        "llm.response.model_name": "gpt-5.4-mini-2026",
        "llm.provider": "azure",
        "llm.system": "openai",
        "llm.finish_reason": "stop",
        "llm.invocation_parameters": '{"temperature":0.5,"top_k":3,"stop_sequences":["END","STOP"]}',
        "llm.token_count.prompt": 20,
        "llm.token_count.completion": 5,
        "llm.token_count.total": 25,
        "llm.token_count.prompt_details.cache_read": 8,
        "llm.token_count.prompt_details.cache_write": 4,
        "llm.token_count.completion_details.reasoning": 2,
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "You are terse.",
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.content": "What is the weather in Rome?",
        "llm.input_messages.2.message.role": "assistant",
        "llm.input_messages.2.message.tool_calls.0.tool_call.id": "c1",
        "llm.input_messages.2.message.tool_calls.0.tool_call.function.name": "weather",
        "llm.input_messages.2.message.tool_calls.0.tool_call.function.arguments": '{"city":"Rome"}',
        "llm.input_messages.3.message.role": "tool",
        "llm.input_messages.3.message.tool_call_id": "c1",
        "llm.input_messages.3.message.content": "sunny",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": "It is sunny.",
        "llm.output_messages.0.message.finish_reason": "stop",
        "llm.tools.0.tool.json_schema": (
            '{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}'
        ),
        "input.value": '{"role":"tool","parts":[{"type":"tool_call_response","id":"c1","response":"sunny"}]}',
        "input.mime_type": "application/json",
        "output.value": "It is sunny.",
        "output.mime_type": "text/plain",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.response.time_to_first_chunk": 0.25,
        **{name: CALL[name] for name in ("http.request.method", "gateway.provider", "gateway.outcome")},
        "session.id": "s1",
        "user.id": "u1",
    }


def test_each_tools_answer_is_a_message_and_pictures_are_urls():
    """Two results in one turn become two messages; a picture's data becomes a data URL, beside its text."""
    asked = [
        {
            "role": "user",
            "parts": [
                {"type": "tool_call_response", "id": "a", "response": {"n": 1}},
                {"type": "tool_call_response", "id": "b", "response": "two"},
                {"type": "text", "content": "look"},
                {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "QUJD"},
                {"type": "reasoning", "content": "hm"},
            ],
        }
    ]
    said = attributes_in("openinference", {"gen_ai.input.messages": json.dumps(asked)}, ATTEMPT)
    at = "llm.input_messages.2.message.contents"
    assert said["llm.input_messages.0.message.content"] == '{"n":1}'
    assert said["llm.input_messages.1.message.tool_call_id"] == "b"
    assert said[f"{at}.0.message_content.text"] == "look"
    assert said[f"{at}.1.message_content.image.image.url"] == "data:image/png;base64,QUJD"
    assert (said[f"{at}.2.message_content.type"], said[f"{at}.2.message_content.text"]) == ("reasoning", "hm")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "reasoning", "content": "hm", "extra": {"anthropic": {"signature": "abc"}}},
        {"type": "refusal", "content": "no"},
        {"type": "tool_call_response", "id": "a", "response": "x", "is_error": True},
    ],
)
def test_what_has_no_flat_place_stays_whole_besides(part):
    """A signature, a refusal's kind, a failed tool: the flat form lacks them, so they stay under their own name."""
    asked = json.dumps([{"role": "user", "parts": [part]}])
    said = attributes_in("openinference", {"gen_ai.input.messages": asked}, ATTEMPT)
    assert said["gen_ai.input.messages"] == asked
    assert said["llm.input_messages.0.message.role"] == "user"


def test_embeddings_runs_and_unread_requests_have_their_kinds():
    """Embeddings are shown as such, an exchange as a chain, a step as what it says, a body nobody read as unknown."""
    texts = json.dumps([{"role": "user", "parts": [{"type": "text", "content": text} for text in ("one", "two")]}])
    said = attributes_in(
        "openinference",
        {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e", "gen_ai.input.messages": texts},
        ATTEMPT,
    )
    assert said["openinference.span.kind"] == "EMBEDDING"
    assert said["embedding.model_name"] == "e"
    assert said["embedding.embeddings.1.embedding.text"] == "two"
    assert "gen_ai.input.messages" not in said

    def kind(attributes: dict[str, Any], facts: Facts) -> Any:
        return attributes_in("openinference", attributes, facts).get("openinference.span.kind")

    assert kind({"http.request.method": "POST"}, EXCHANGE) == "CHAIN"
    assert kind({"http.request.method": "POST"}, ATTEMPT) is None
    assert kind({"gateway.run.id": "r", "gateway.step.type": "Tool"}, Facts("INTERNAL", 0)) == "TOOL"
    assert kind({"gateway.run.id": "r"}, Facts("INTERNAL", 0)) == "CHAIN"


def test_a_span_that_speaks_openinference_is_left_alone():
    """What an application's own instrumentation said is not said again."""
    own = {"openinference.span.kind": "AGENT", "llm.finish_reason": "x", "gen_ai.response.finish_reasons": ["y"]}
    assert attributes_in("openinference", own, Facts("INTERNAL", 0)) == own


def test_the_seeds_names_are_on_attempts_and_exchanges():
    """An attempt has model, prompts, completions, usage and latency; the exchange retries, limits and metadata."""
    said = attributes_in("llm", CALL, ATTEMPT)
    assert said["llm.vendor"] == "azure.ai.openai"
    assert said["llm.request.model"] == "gpt-5.4-mini"
    assert said["llm.response.model"] == "gpt-5.4-mini-2026"
    assert said["llm.temperature"] == 0.5
    assert said["llm.chat.stop_sequences"] == '["END","STOP"]'
    assert said["llm.finish_reason"] == "stop"
    assert (said["llm.usage.prompt_tokens"], said["llm.usage.completion_tokens"]) == (20, 5)
    assert said["llm.usage.total_tokens"] == 25
    assert said["llm.prompts"] == "system: You are terse.\n\nuser: What is the weather in Rome?"
    assert said["llm.prompts.raw"] == CALL["gen_ai.input.messages"]
    assert said["llm.completions"] == "It is sunny."
    assert said["llm.completions.raw"] == CALL["gen_ai.output.messages"]
    assert said["llm.latency"] == 2345
    assert said["llm.meta.user_id"] == "u1"
    root = {
        "gateway.retries": 2,
        "gateway.rate_limited": True,
        "gateway.run.id": "r",
        "gateway.step.id": "s",
        "gateway.application": "shop",
        "gateway.error": "late",
        "http.response.status_code": 504,
    }
    assert attributes_in("llm", root, EXCHANGE) == {
        "llm.retries": 2,
        "llm.rate_limited": True,
        "llm.meta.run_id": "r",
        "llm.meta.step": "s",
        "llm.meta.application": "shop",
        "error": "late",
        "http.response.status_code": 504,
        "llm.status_code": 504,
        "llm.total_latency": 2345,
    }


def test_one_message_alone_is_the_prompt():
    """As chronicle had it: with one message there is no role before the text."""
    asked = {"gen_ai.input.messages": json.dumps(ASKED[:1])}
    assert attributes_in("llm", asked, ATTEMPT)["llm.prompts"] == "What is the weather in Rome?"


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.mark.parametrize(
    "sent",
    [
        {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}},
        {"type": "function", "name": "weather", "description": "d", "parameters": SCHEMA},
        {"name": "weather", "description": "d", "input_schema": SCHEMA},
        {"functionDeclarations": [{"name": "weather", "description": "d", "parametersJsonSchema": SCHEMA}]},
        {"toolSpec": {"name": "weather", "description": "d", "inputSchema": {"json": SCHEMA}}},
    ],
    ids=["chat", "responses", "anthropic", "gemini", "bedrock"],
)
def test_tools_of_every_dialect_come_to_one_form(sent):
    """Each dialect's definition becomes the conventions' one, and OpenAI's for OpenInference."""
    assert flat([sent]) == [{"type": "function", "name": "weather", "description": "d", "parameters": SCHEMA}]
    assert nested([sent]) == [
        {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}
    ]


def test_a_providers_own_tools_keep_what_they_say():
    """Gemini's search and Anthropic's have a type and a name, and all they were sent with."""
    assert flat([{"googleSearch": {"a": 1}}]) == [
        {"type": "googleSearch", "name": "googleSearch", "googleSearch": {"a": 1}}
    ]
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    assert flat([search]) == nested([search]) == [search]


@pytest.mark.integration
async def test_the_setting_holds_for_what_is_sent_live(tmp_path):
    """`[otlp] vocabulary` in gateway.toml reaches the recorder's exporter."""
    receiver = Receiver()
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    try:
        async with Process(tmp_path, '[otlp]\nvocabulary = "openinference"\n', environ=environ) as gateway:
            body = {"model": "demo/chat", "messages": [{"role": "user", "content": "What is a span?"}]}
            headers = [("Content-Type", "application/json")]
            await exchange(gateway.url, request("POST", "/v1/chat/completions", headers, json.dumps(body).encode()))
            for _ in range(400):
                if len(receiver.names) == 2:
                    break
                await asyncio.sleep(0.05)
    finally:
        receiver.close()
    (attempt,) = [span for batch in receiver.batches for span in batch if span.name == "chat chat"]
    assert attributes_of(attempt)["llm.input_messages.0.message.content"] == "What is a span?"


# what holds for all

words = st.text(max_size=12)
parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "content": words}),
    st.fixed_dictionaries(
        {"type": st.just("reasoning"), "content": words}, optional={"extra": st.just({"x": {"s": "q"}})}
    ),
    st.fixed_dictionaries({"type": st.just("refusal"), "content": words}),
    st.fixed_dictionaries(
        {"type": st.just("tool_call"), "name": words},
        optional={"id": words, "arguments": st.one_of(words, st.dictionaries(words, st.integers(-9, 9), max_size=3))},
    ),
    st.fixed_dictionaries(
        {"type": st.just("tool_call_response"), "response": st.one_of(words, st.lists(words, max_size=2))},
        optional={"id": words, "is_error": st.booleans()},
    ),
    st.fixed_dictionaries(
        {"type": st.just("blob"), "modality": st.sampled_from(["image", "audio", "x"]), "content": words}
    ),
    st.fixed_dictionaries({"type": st.just("uri"), "modality": st.just("image"), "uri": words, "mime_type": words}),
    st.dictionaries(words, st.one_of(words, st.integers(-9, 9), st.none()), max_size=2),
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": words, "parts": st.lists(parts, max_size=3)},
        optional={"name": words, "finish_reason": words, "extra": st.just({"openai-chat": {"a": "b"}})},
    ),
    max_size=3,
)
content = st.one_of(
    messages.map(json.dumps),
    st.lists(parts, max_size=3).map(json.dumps),
    st.sampled_from(["", "[]", "{}", "[1]", "null", '[{"parts":1}]', "no JSON"]),
)
scalars = st.one_of(
    words, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
)
CONTENT = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions")
SCHEMA_WORDS = [
    ("type", kind) for kind in ("text", "reasoning", "refusal", "tool_call", "tool_call_response", "blob", "uri")
]
names = st.sampled_from(
    sorted(
        {*ATTEMPT_PROMOTED, *CALL, "gateway.error", "gateway.retries", "gen_ai.conversation.id", "llm.vendor", "error"}
        - set(CONTENT)
        - {"gen_ai.operation.name", "gen_ai.response.finish_reasons", "gen_ai.request.stop_sequences"}
    )
)
attributes = st.builds(
    lambda plain, some, lists: plain | some | lists,
    st.dictionaries(names, scalars, max_size=8),
    st.dictionaries(st.sampled_from(CONTENT), content, max_size=4),
    st.fixed_dictionaries(
        {},
        optional={
            "gen_ai.operation.name": st.sampled_from(["chat", "embeddings", "other"]),
            "gen_ai.response.finish_reasons": st.lists(words, max_size=2),
            "gen_ai.request.stop_sequences": st.lists(words, max_size=2),
        },
    ),
)
facts = st.builds(
    Facts,
    st.sampled_from(["SERVER", "CLIENT", "INTERNAL"]),
    st.integers(0, 2**60),
    st.one_of(st.none(), st.integers(0, 2**50)),
)


def _leaves(value: Any) -> Iterator[Any]:
    """Give all values in a value, but for the schema's own words; of a text that is JSON, those in it as well."""
    if isinstance(value, dict):
        for key, item in value.items():
            if (key, item) not in SCHEMA_WORDS:
                yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value
        try:
            inner = json.loads(value)
        except ValueError:
            return
        if isinstance(inner, dict | list):
            yield from _leaves(inner)
    elif value is not None:
        yield value


@pytest.mark.parametrize("name", NAMES)
@given(attributes=attributes, facts=facts)
@example(attributes=CALL, facts=ATTEMPT)
@example(attributes={"gen_ai.provider.name": "a", "llm.vendor": "b"}, facts=ATTEMPT)
@example(attributes={"session.id": "a", "gen_ai.conversation.id": "b"}, facts=ATTEMPT)
def test_no_value_is_lost(name, attributes, facts):
    """Whatever a span says, each value of it is somewhere in what is sent, under whatever name."""
    said = attributes_in(name, attributes, facts)
    there = list(_leaves(said))
    texts = "\x00".join(each for each in there if isinstance(each, str))
    for attribute, value in attributes.items():
        items = listed(value) if attribute in CONTENT else None
        for leaf in _leaves(value if items is None else items):
            if isinstance(leaf, str):
                assert leaf in texts, (attribute, leaf, said)
            else:
                assert any(each == leaf for each in there), (attribute, leaf, said)


@pytest.mark.parametrize("name", NAMES)
@given(attributes=attributes, facts=facts)
def test_what_is_sent_is_valid_and_bounded(name, attributes, facts):
    """Every value is one that OTLP has, no name is empty, and no vocabulary blows content up."""
    said = attributes_in(name, attributes, facts)
    for attribute, value in said.items():
        assert attribute
        each = value if isinstance(value, list | tuple) else [value]
        assert len({type(item) for item in each}) <= 1
        assert all(isinstance(item, str | bool | int | float) for item in each)
    size = sum(len(json.dumps(value)) for value in attributes.values())
    assert sum(len(json.dumps(value)) for value in said.values()) <= 4 * size + 1000
    row = {"kind": facts.kind, "trace_id": "0a" * 16, "span_id": "0b" * 8, "name": "n", "start_ns": facts.start_ns}
    row["duration_ns"] = facts.duration_ns
    span = span_of(
        row | {"attributes": attributes}, Resource({}), InstrumentationScope("s"), Capture(otlp="full"), name
    )
    (source,) = encode_spans([span]).resource_spans
    assert set(attributes_of(source.scope_spans[0].spans[0])) == set(said)
