import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionMessageFunctionToolCall

from gateway.dialects.conversation import ChatRequest, ChatResponse, ToolCall
from gateway.dialects.openai_chat import CHAT_WRITER
from gateway.providers.groq import recovered

ADD = '{"name": "add", "arguments": {"a": 1, "b": "two }"}}'
CALLED = [("add", {"a": 1, "b": "two }"})]
ARGUMENTS = '{"a": 1, "b": "two }"}'


def refusal(generated: Any, code: str = "tool_use_failed") -> bytes:
    """Make Groq's refusal of what a model generated."""
    error = {
        "message": "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
        "type": "invalid_request_error",
        "code": code,
        "failed_generation": generated,
    }
    return json.dumps({"error": error}).encode()


def calls(answered: ChatResponse | None) -> list[tuple[str, Any]] | None:
    """Return the names and the arguments of the calls that were recovered."""
    if answered is None:
        return None
    (message,) = answered.output_messages
    return [(part.name, part.arguments) for part in message.parts if isinstance(part, ToolCall)]


@pytest.mark.parametrize(
    ("generated", "expected"),
    [
        pytest.param(f"```json\n{ADD}\n```", CALLED, id="fence"),
        pytest.param(f"```json\n[{ADD}, {ADD}]\n```", CALLED * 2, id="list-in-fence"),
        pytest.param(f"```json\n{json.dumps(json.loads(ADD), indent=2)}\n```", CALLED, id="fence-on-lines"),
        pytest.param(f"```\n{ADD}\n```", CALLED, id="fence-without-a-word"),
        pytest.param(f"```json\n{ADD}", CALLED, id="fence-cut-short"),
        pytest.param(f"I shall add.\n\n```json\n{ADD}\n```\nDone.", CALLED, id="fence-in-text"),
        pytest.param(f"```json\n{ADD}\n```\n```json\n{ADD}\n```", CALLED * 2, id="two-fences"),
        pytest.param(f"<tool-use>{ADD}</tool-use>", CALLED, id="tool-use"),
        pytest.param(f"<tool-use>\n{ADD}\n</tool-use>\n", CALLED, id="tool-use-on-lines"),
        pytest.param(f'<tool-use>{{"tool_calls": [{ADD}]}}</tool-use>', CALLED, id="tool-calls-in-tool-use"),
        pytest.param(f"<tool_call>{ADD}</tool_call><tool_call>{ADD}</tool_call>", CALLED * 2, id="two-tool-calls"),
        pytest.param(f"<tool_call>\n{ADD}", CALLED, id="tool-call-cut-short"),
        pytest.param(f"<tool-use>```json\n{ADD}\n```</tool-use>", CALLED, id="fence-in-tool-use"),
        pytest.param(f"<function=add>{ARGUMENTS}</function>", CALLED, id="function"),
        pytest.param(f"<function=add>{ARGUMENTS}</function>" * 2, CALLED * 2, id="two-functions"),
        pytest.param(f"<function=add>{ARGUMENTS}", CALLED, id="function-cut-short"),
        pytest.param(f"<function=add{ARGUMENTS}</function>", CALLED, id="function-unclosed"),
        pytest.param(f"<function=add {ARGUMENTS}></function>", CALLED, id="function-with-a-space"),
        pytest.param(f"<function=add({ARGUMENTS})</function>", CALLED, id="function-in-brackets"),
        pytest.param(
            f"Well: <function=math.add-2>{ARGUMENTS}</function>", [("math.add-2", CALLED[0][1])], id="in-text"
        ),
        pytest.param(f"\nadd {ARGUMENTS}</function>\n", CALLED, id="function-without-its-beginning"),
        pytest.param("<function=now>{}</function>", [("now", {})], id="no-arguments"),
        pytest.param(
            "<function=write>" + json.dumps({"text": f"<function=add>{ARGUMENTS}</function>"}) + "</function>",
            [("write", {"text": f"<function=add>{ARGUMENTS}</function>"})],
            id="function-that-writes-one",
        ),
        *(
            pytest.param(
                before + json.dumps({"name": "write", "arguments": {"text": f"```json\n{ADD}\n```"}}) + after,
                [("write", {"text": f"```json\n{ADD}\n```"})],
                id="fence-that-is-written" + before[:5],
            )
            for before, after in [("", ""), ("```json\n", "\n```"), ("<tool-use>", "</tool-use>")]
        ),
        pytest.param(f"```python\nadd(1)\n```\n```json\n{ADD}\n```", CALLED, id="fence-after-another"),
        pytest.param(ADD, CALLED, id="object"),
        pytest.param(f"  [{ADD}]\n", CALLED, id="list"),
        pytest.param(f'{{"tool_calls": [{ADD}, {ADD}]}}', CALLED * 2, id="tool-calls"),
        pytest.param(json.dumps({"name": "add", "parameters": {"a": 1}}), [("add", {"a": 1})], id="parameters"),
        pytest.param(json.dumps({"name": "add", "args": {"a": 1}}), [("add", {"a": 1})], id="args"),
        pytest.param(json.dumps({"name": "add", "input": {"a": 1}}), [("add", {"a": 1})], id="input"),
        pytest.param(json.dumps({"name": "add", "arguments": '{"a": 1}'}), [("add", {"a": 1})], id="arguments-as-text"),
        pytest.param(json.dumps({"name": "add"}), [("add", {})], id="no-arguments-said"),
        pytest.param(json.dumps({"function": "add", "arguments": {"a": 1}}), [("add", {"a": 1})], id="function-name"),
        pytest.param(
            json.dumps({"id": "x", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}),
            [("add", {"a": 1})],
            id="openais-own",
        ),
    ],
)
def test_a_call_is_recovered(generated: str, expected: list[tuple[str, Any]]) -> None:
    """A call written as JSON, fenced, tagged or bare, is recovered."""
    assert calls(recovered(refusal(generated))) == expected


@pytest.mark.parametrize(
    "generated",
    [
        *("", " ", "I cannot do that.", "null", "1", '"add"', "[]", "{}", "[1]", "[[]]", "{", "```json\n```"),
        *("<tool-use></tool-use>", "<tool-use>add</tool-use>", "<function=add>", "<function=add>1</function>"),
        *("<function=add>{'a': 1}</function>", "add</function>", '{"name": ""}', '{"name": 1, "arguments": {}}'),
        *('{"name": "add", "arguments": [1]}', '{"name": "add", "arguments": "one"}', '{"tool_calls": 1}'),
        *('{"tool_calls": []}', "```json\n[" * 3, "[" * 100_000, '{"name":' * 100_000),
        f"{ADD} and more",
        f"add{ARGUMENTS}",
        "```json" + " " * 200_000 + "x",
        "<tool-use>" + ("{" + " " * 1000) * 200,
        "<function=a" + " (>" * 100_000,
        "a" * 100_000 + " " * 100_000 + "{</function> x",
        f'[{ADD}, {{"x": 1}}]',
        f"<tool_call>{ADD}</tool_call><tool_call>broken</tool_call>",
        None,
        1,
        [ADD],
        json.loads(ADD),
    ],
    ids=lambda generated: repr(generated)[:30],
)
def test_what_is_no_call_is_not_recovered(generated: Any) -> None:
    """Text, broken JSON, a call without a name and half of several calls stay the error that they were."""
    assert recovered(refusal(generated)) is None


@pytest.mark.parametrize(
    "body",
    [
        refusal(ADD, code="invalid_api_key"),
        refusal(ADD, code="json_validate_failed"),
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"error": "tool_use_failed"}',
        b'{"error": {"code": "tool_use_failed"}}',
        refusal(ADD)[:-10],
    ],
)
def test_another_error_is_not_recovered(body: bytes) -> None:
    """Only an error of this code that has what was generated is looked into."""
    assert recovered(body) is None


def test_a_recovered_call_is_an_answer() -> None:
    """It ends with the word for tool calls, and each call has an id: the same for the same words, others for others."""
    body = refusal(f"[{ADD}, {ADD}]")
    answered = recovered(body)
    assert answered is not None
    assert answered.finish_reasons == ["tool_calls"]
    (message,) = answered.output_messages
    assert (message.role, message.finish_reason) == ("assistant", "tool_calls")
    first, second = (part.id for part in message.parts if isinstance(part, ToolCall))
    assert first
    assert second
    assert first != second
    assert recovered(body) == answered
    assert recovered(refusal(f"[{ADD},{ADD}]")) != answered


def test_a_recovered_call_is_what_the_client_awaits() -> None:
    """Written as a chat completion it is one that OpenAI's SDK reads the call from."""
    answered = recovered(refusal(f"<function=add>{ARGUMENTS}</function>"))
    assert answered is not None
    body, dropped = CHAT_WRITER.response(
        answered, ChatRequest(operation="chat", model="llama-3.3-70b-versatile"), 1795162800.25
    )
    (choice,) = ChatCompletion.model_validate_json(body, strict=True).choices
    assert (choice.finish_reason, dropped) == ("tool_calls", [])
    (call,) = choice.message.tool_calls or []
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert call.id
    assert (call.function.name, json.loads(call.function.arguments)) == CALLED[0]


@pytest.mark.parametrize(
    ("generated", "expected"),
    [
        ('{"name": "add", "arguments": {"a": "\\ud800", "b": NaN}}', {"a": "?", "b": None}),
        ('<function=add>{"a": "\\ud800", "b": NaN}</function>', {"a": "?", "b": None}),
        ('{"name": "add", "arguments": {"a": 1e999}}', None),
        ('<function=add>{"a": 1e999}</function>', None),
    ],
)
def test_a_recovered_call_can_be_written(generated: str, expected: Any) -> None:
    """JSON that only lenient decoders accept is repaired when written again, or is no call."""
    assert calls(recovered(refusal(generated))) == (None if expected is None else [("add", expected)])


@given(st.text() | st.text(alphabet='<>{}[]"`=/:,functiooladd-_ \n'))
def test_nothing_that_is_generated_breaks_it(generated: str) -> None:
    """Any generated text is a call that can be written, or none."""
    answered = recovered(refusal(generated))
    assert calls(answered) != []
    msgspec.json.encode(answered)


@given(st.binary())
def test_no_bytes_break_it(body: bytes) -> None:
    """Any body is a call or none."""
    assert recovered(body) is None
