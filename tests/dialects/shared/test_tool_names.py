"""Tools of a request under names that another provider takes, and the client's names in the calls that return."""

import re

import pytest

from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Text, Tool, ToolCall, ToolChoice
from gateway.dialects.events import PartBegun, PartDone, PartGrown
from gateway.dialects.registry import ENDPOINTS
from gateway.dialects.shared.tool_names import ClientNames, NameForm, allowed_tools, fitted_tools

LONG = "mcp__server__" + "x" * 60
FORM = NameForm()


def request(*tools: Tool, calls: tuple[ToolCall, ...] = (), choice: ToolChoice | None = None) -> ChatRequest:
    """Return a request with tools, and calls of them so far."""
    messages = [Message(role="assistant", parts=[Text(content="x"), *calls])] if calls else []
    return ChatRequest(operation="chat", tools=list(tools), input_messages=messages, tool_choice=choice)


@pytest.mark.parametrize("name", ["look_up", "a-b", "x" * 64])
def test_a_name_within_the_limits_stays(name):
    """Of at most 64 letters, digits, underscores and hyphens."""
    assert FORM.fitted(name) == name


@pytest.mark.parametrize("name", ["x" * 65, "a.b", "a b", "é", "a/b", ""])
def test_a_fitted_name_is_within_the_limits_and_always_the_same(name):
    """Only an empty name stays, since there is nothing to fit."""
    fitted = FORM.fitted(name)
    assert re.fullmatch("[a-zA-Z0-9_-]{0,64}", fitted)
    assert fitted == NameForm().fitted(name)


def test_names_that_begin_alike_stay_different():
    """And so do those that differ in an invalid character alone."""
    assert len({FORM.fitted(name) for name in ("x" * 70, "x" * 71, "a.b", "a/b", "a_b")}) == 5


def test_calls_and_the_choice_have_the_tools_new_name():
    """In the request; in the response the client's name is back, whole and streamed."""
    call = ToolCall(id="1", name=LONG, arguments={})
    fitted, names = fitted_tools(
        request(Tool(name=LONG), Tool(name="g"), calls=(call,), choice=ToolChoice(mode="tool", name=LONG)), FORM
    )
    new = FORM.fitted(LONG)
    assert [tool.name for tool in fitted.tools] == [new, "g"]
    assert fitted.input_messages[0].parts[1] == ToolCall(id="1", name=new, arguments={})
    assert fitted.tool_choice == ToolChoice(mode="tool", name=new)
    back = ToolCall(id="2", name=new)
    assert names.restore(ChatResponse(output_messages=[Message(role="assistant", parts=[back])])) == ChatResponse(
        output_messages=[Message(role="assistant", parts=[ToolCall(id="2", name=LONG)])]
    )
    events = [PartBegun(index=0, part=back), PartGrown(index=0, text="{}"), PartDone(index=0, part=back)]
    restored = list(names.restore_events(events))
    assert [e.part.name for e in restored if not isinstance(e, PartGrown)] == [LONG, LONG]
    assert restored[1] is events[1]


def test_a_namespace_is_the_beginning_of_the_name():
    """And a field of its own again in a call."""
    call = ToolCall(id="1", name="status", namespace="mcp__srv")
    fitted, names = fitted_tools(request(Tool(name="status", namespace="mcp__srv"), calls=(call,)), FORM)
    assert fitted.tools == [Tool(name="mcp__srv__status")]
    assert fitted.input_messages[0].parts[1] == ToolCall(id="1", name="mcp__srv__status")
    assert list(names.restore_events([PartBegun(index=0, part=ToolCall(name="mcp__srv__status"))])) == [
        PartBegun(index=0, part=ToolCall(name="status", namespace="mcp__srv"))
    ]


def test_a_request_that_fits_is_not_changed():
    """Nor are the provider's own tools, whose names are types."""
    tools = [Tool(name="f"), Tool(name="web.search", kind="server")]
    fitted, names = fitted_tools(request(*tools), FORM)
    assert fitted.tools == tools
    assert names == ClientNames()


def test_only_the_allowed_tools_are_left():
    """The mode stays, and no field of the client's dialect with the other names."""
    choice = allowed_tools(
        {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}, "openai-chat", {"type": "x"}
    )
    assert choice == ToolChoice(mode="required", allowed=["f"], extra={"openai-chat": {"type": "x"}})
    fitted, _ = fitted_tools(request(Tool(name="f"), Tool(name="g"), choice=choice), FORM)
    assert fitted.tools == [Tool(name="f")]
    assert fitted.tool_choice == ToolChoice(mode="required")


def test_allowed_tools_are_read_by_name_or_type():
    """As Responses has them, without an inner object."""
    tools = [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}, {"type": "web_search"}, 1]
    assert allowed_tools({"mode": "auto", "tools": tools}, "d", {}).allowed == ["f", "c", "web_search"]


@pytest.mark.parametrize(
    ("dialect", "most"),
    [
        ("openai-chat", 64), ("openai-responses", 64), ("gemini", 64), ("bedrock-converse", 64),
        ("anthropic-messages", 128), ("ollama", None),
    ],
)  # fmt: skip
def test_each_dialects_limit(dialect, most):
    """As its documentation has it."""
    form = ENDPOINTS[dialect].tool_names
    assert (None if form is None else form.most) == most
