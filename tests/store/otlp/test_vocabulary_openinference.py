"""OpenInference's names: each attribute's, kinds of spans, providers, parameters, embeddings and conversations."""

import json
from typing import Any

import pytest

from gateway.store.otlp.content import Facts
from gateway.store.otlp.vocabulary_openinference import attributes_in

ATTEMPT = Facts("CLIENT", 0)
EXCHANGE = Facts("SERVER", 0)
STEP = Facts("INTERNAL", 0)

NAMES = {
    "gen_ai.response.model": "llm.response.model_name",
    "gen_ai.usage.input_tokens": "llm.token_count.prompt",
    "gen_ai.usage.output_tokens": "llm.token_count.completion",
    "gen_ai.usage.total_tokens": "llm.token_count.total",
    "gen_ai.usage.cache_read.input_tokens": "llm.token_count.prompt_details.cache_read",
    "gen_ai.usage.cache_write.input_tokens": "llm.token_count.prompt_details.cache_write",
    "gen_ai.usage.reasoning.output_tokens": "llm.token_count.completion_details.reasoning",
    "gen_ai.usage.cost": "llm.cost.total",
    "gen_ai.conversation.id": "session.id",
    "gen_ai.request.model": "llm.request.model_name",
}


@pytest.mark.parametrize(("name", "other"), NAMES.items(), ids=NAMES)
def test_an_attribute_has_openinferences_name(name, other):
    """The value is unchanged, and the name of the conventions is gone."""
    found = attributes_in({name: 7}, ATTEMPT)
    assert found[other] == 7
    assert name not in found


def test_a_session_is_not_overwritten_by_the_conversation():
    """The conversation keeps its own name beside a session."""
    attributes = {"session.id": "s", "gen_ai.conversation.id": "c"}
    assert attributes_in(attributes, ATTEMPT) == attributes


OPERATIONS = {
    "chat": "LLM",
    "generate_content": "LLM",
    "text_completion": "LLM",
    "embeddings": "EMBEDDING",
    "execute_tool": "TOOL",
    "invoke_agent": "AGENT",
    "create_agent": "AGENT",
    "other": None,
}


@pytest.mark.parametrize(("operation", "kind"), OPERATIONS.items(), ids=OPERATIONS)
def test_an_operation_has_a_kind(operation, kind):
    """An unknown operation has none."""
    assert attributes_in({"gen_ai.operation.name": operation}, ATTEMPT).get("openinference.span.kind") == kind


STEPS = {
    "tool": "TOOL",
    "agent": "AGENT",
    "retriever": "RETRIEVER",
    "llm": "LLM",
    "embedding": "EMBEDDING",
    "Tool": "TOOL",
    "other": "CHAIN",
    None: "CHAIN",
}


@pytest.mark.parametrize(("step", "kind"), STEPS.items())
def test_a_step_has_a_kind(step, kind):
    """By its type, in any case; a run and another step are chains."""
    attributes = {"gateway.run.id": "r"} | ({"gateway.step.type": step} if step else {})
    assert attributes_in(attributes, STEP)["openinference.span.kind"] == kind


def test_an_exchange_is_a_chain():
    """Its attempts are the LLM's spans, whatever its operation and step are."""
    attributes = {"gen_ai.operation.name": "chat", "gateway.run.id": "r", "gateway.step.type": "tool"}
    assert attributes_in(attributes, EXCHANGE)["openinference.span.kind"] == "CHAIN"
    assert attributes_in(attributes, ATTEMPT)["openinference.span.kind"] == "LLM"


PROVIDERS = {
    "openai": ("openai", "openai"),
    "anthropic": ("anthropic", "anthropic"),
    "cohere": ("cohere", "cohere"),
    "mistral_ai": ("mistralai", "mistralai"),
    "azure.ai.openai": ("azure", "openai"),
    "azure.ai.inference": ("azure", None),
    "gcp.gemini": ("google", None),
    "gcp.gen_ai": ("google", None),
    "gcp.vertex_ai": ("google", "vertexai"),
    "aws.bedrock": ("aws", None),
    "x_ai": ("xai", None),
    "moonshot_ai": ("moonshot", None),
    "another": ("another", None),
}


@pytest.mark.parametrize(("name", "expected"), PROVIDERS.items(), ids=PROVIDERS)
def test_a_provider_has_openinferences_names(name, expected):
    """`llm.provider` is the operator, `llm.system` the maker of the interface if it is known."""
    found = attributes_in({"gen_ai.provider.name": name}, ATTEMPT)
    assert (found["llm.provider"], found.get("llm.system")) == expected
    assert found["gen_ai.provider.name"] == name


@pytest.mark.parametrize("name", ["openinference.span.kind", "llm.model_name", "embedding.model_name"])
def test_a_span_with_openinferences_names_is_unchanged(name):
    """An application's own instrumentation wrote them."""
    own = {name: "x", "gen_ai.request.model": "m", "gen_ai.operation.name": "chat"}
    assert attributes_in(own, ATTEMPT) == own


@pytest.mark.parametrize(("operation", "of"), [("chat", "llm"), ("embeddings", "embedding")])
def test_parameters_are_one_json_text(operation, of):
    """All of `gen_ai.request.` but the model, below the prefix of the kind."""
    found = attributes_in(
        {
            "gen_ai.operation.name": operation,
            "gen_ai.request.model": "m",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.seed": 7,
        },
        ATTEMPT,
    )
    assert found[f"{of}.invocation_parameters"] == '{"temperature":0.5,"seed":7}'
    assert found[f"{of}.model_name"] == "m"
    assert not any(name.startswith("gen_ai.request.") for name in found)


def test_the_model_of_the_response_comes_first():
    """Both models also have names of their own."""
    found = attributes_in({"gen_ai.request.model": "m", "gen_ai.response.model": "m-1"}, ATTEMPT)
    assert found == {"llm.model_name": "m-1", "llm.request.model_name": "m", "llm.response.model_name": "m-1"}


@pytest.mark.parametrize(("reasons", "expected"), [(["stop"], "stop"), (("a", "b"), ("a", "b")), ([], None)])
def test_one_finish_reason_is_a_text(reasons, expected):
    """Several stay a list."""
    found = attributes_in({"gen_ai.response.finish_reasons": reasons}, ATTEMPT)
    assert found.get("llm.finish_reason") == expected
    assert ("gen_ai.response.finish_reasons" in found) is (not reasons)


def text(role: str, *contents: str, **more: Any) -> dict[str, Any]:
    """Return a message of texts."""
    return {"role": role, "parts": [{"type": "text", "content": content} for content in contents], **more}


EMBEDDED: dict[str, tuple[list[Any], bool]] = {
    "a message for each text": ([text("user", "one"), text("user", "two")], False),
    "one message of both texts": ([text("user", "one", "two")], False),
    "another role": ([text("system", "one"), text("user", "two")], True),
    "more than texts": ([text("user", "one", "two", name="ann")], True),
}


@pytest.mark.parametrize(("messages", "stays"), EMBEDDED.values(), ids=EMBEDDED)
def test_embedded_texts_are_flat(messages, stays):
    """The messages stay beside them if they hold more than the texts."""
    attributes = {"gen_ai.operation.name": "embeddings", "gen_ai.input.messages": json.dumps(messages)}
    found = attributes_in(attributes, ATTEMPT)
    assert found["embedding.embeddings.0.embedding.text"] == "one"
    assert found["embedding.embeddings.1.embedding.text"] == "two"
    assert (found["input.value"], found["input.mime_type"]) == ("one\n\ntwo", "text/plain")
    assert ("gen_ai.input.messages" in found) is stays


CONTENT = {
    "gen_ai.system_instructions": ([{"type": "text", "content": "be"}], "llm.input_messages.0.message.content"),
    "gen_ai.input.messages": ([text("user", "be")], "llm.input_messages.0.message.content"),
    "gen_ai.output.messages": ([text("assistant", "be")], "llm.output_messages.0.message.content"),
}


@pytest.mark.parametrize(("name", "case"), CONTENT.items(), ids=CONTENT)
def test_content_that_is_flat_in_full_is_not_repeated(name, case):
    """The attribute of the conventions is replaced."""
    content, flat = case
    found = attributes_in({name: json.dumps(content)}, ATTEMPT)
    assert found[flat] == "be"
    assert name not in found


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("value", ["no JSON", "[1]", 7])
def test_content_of_another_form_is_unchanged(name, value):
    """There is nothing to flatten."""
    assert attributes_in({name: value}, ATTEMPT) == {name: value}


def test_the_input_shown_is_the_last_message_and_the_output_all():
    """Lists of spans show one value of each."""
    found = attributes_in(
        {
            "gen_ai.input.messages": json.dumps([text("user", "a"), text("user", "b")]),
            "gen_ai.output.messages": json.dumps([text("assistant", "c"), text("assistant", "d")]),
        },
        ATTEMPT,
    )
    assert (found["input.value"], found["output.value"]) == ("b", "c\n\nd")


@pytest.mark.parametrize(
    ("messages", "shown"),
    [
        ([{"role": "a", "parts": []}], '{"role":"a","parts":[]}'),
        ([{"role": "a", "parts": []}, {"role": "b", "parts": []}], '[{"role":"a","parts":[]},{"role":"b","parts":[]}]'),
        ([], None),
    ],
)
def test_output_without_text_is_shown_as_json(messages, shown):
    """A single message without the list around it."""
    found = attributes_in({"gen_ai.output.messages": json.dumps(messages)}, ATTEMPT)
    assert found.get("output.value") == shown
    assert found.get("output.mime_type") == (shown and "application/json")


def test_tools_are_json_schemas():
    """In OpenAI's form, which readers know; the attribute of the conventions is replaced."""
    tools = [{"name": "f", "input_schema": {}}, {"type": "web_search", "name": "w"}]
    assert attributes_in({"gen_ai.tool.definitions": json.dumps(tools)}, ATTEMPT) == {
        "llm.tools.0.tool.json_schema": '{"type":"function","function":{"name":"f","parameters":{}}}',
        "llm.tools.1.tool.json_schema": '{"type":"web_search","name":"w"}',
    }


def test_a_value_that_the_application_set_is_kept():
    """`input.value` of a run's span is not replaced by the messages'."""
    attributes = {"input.value": "own", "gen_ai.input.messages": json.dumps([text("user", "a")])}
    assert attributes_in(attributes, ATTEMPT)["input.value"] == "own"
