"""The client's tools as another provider takes them: those that may be called, under names within its limits. Pure.

Names that a provider would refuse are replaced in the request (tools, the choice of them, earlier calls), and put back
in the calls that return. The replacement depends on the name alone, so that a conversation has the same names on every
turn: providers refuse signed reasoning whose request has changed, and cache by the beginning of a request.
"""

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Part, Tool, ToolCall, ToolChoice
from gateway.dialects.events import Event, PartBegun, PartDone
from gateway.dialects.wire.json import fields, objects, text

_HASHED = 8  # hexadecimal digits at the end of a replaced name


class NameForm(Struct, frozen=True, kw_only=True):
    """A dialect's limits on tool names.

    Attributes:
        most: The greatest length, in characters.
        invalid: Matches a character that no name may have.

    """

    most: int = 64
    invalid: re.Pattern[str] = re.compile(r"[^a-zA-Z0-9_-]")

    def fitted(self, name: str) -> str:
        """Return a name within the limits: the given one, or one made of its beginning and its hash.

        >>> NameForm().fitted("look_up")
        'look_up'
        >>> len(NameForm().fitted("look_up" * 20))
        64
        """
        plain = self.invalid.sub("_", name)
        if plain == name and len(name) <= self.most:
            return name
        digits = blake2b(name.encode("utf-8", "replace"), digest_size=_HASHED // 2).hexdigest()
        return f"{plain[: self.most - _HASHED - 1]}_{digits}"


class ClientNames(Struct, frozen=True):
    """The client's names (namespace or None, name) of tools by those that the provider has for them."""

    names: dict[str, tuple[str | None, str]] = {}

    def restore(self, response: ChatResponse) -> ChatResponse:
        """Return a whole response with the client's names."""
        if not self.names:
            return response
        messages = [
            replace(message, parts=[self._restored(part) for part in message.parts])
            for message in response.output_messages
        ]
        return replace(response, output_messages=messages)

    def restore_events(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the events of a stream with the client's names."""
        for event in events:
            if self.names and isinstance(event, PartBegun | PartDone):
                yield replace(event, part=self._restored(event.part))
            else:
                yield event

    def _restored(self, part: Part) -> Part:
        if not isinstance(part, ToolCall) or part.name not in self.names:
            return part
        namespace, name = self.names[part.name]
        return replace(part, namespace=namespace, name=name)


def allowed_tools(value: dict[str, Any], dialect: str, whole: dict[str, Any]) -> ToolChoice:
    """Read OpenAI's choice of some tools: `value` has the mode and the tools, `whole` is the choice as it was sent."""
    entries = [fields(each.get(str(each.get("type")))) or each for each in objects(value.get("tools"))]
    names = [name for each in entries if (name := text(each.get("name")) or text(each.get("type")))]
    required = value.get("mode") == "required"
    return ToolChoice(mode="required" if required else "auto", allowed=names, extra={dialect: whole})


def fitted_tools(request: ChatRequest, form: NameForm | None) -> tuple[ChatRequest, ClientNames]:
    """Return a request with the tools that may be called alone, under names that fit; and the names to put back."""
    choice = request.tool_choice
    if choice is not None and choice.allowed:
        tools = [tool for tool in request.tools if tool.name in choice.allowed]
        request = replace(request, tools=tools, tool_choice=ToolChoice(mode=choice.mode))
    names: dict[str, tuple[str | None, str]] = {}

    def fitted(tool: Tool | ToolCall) -> Any:
        whole = _flat(tool.namespace, tool.name)
        name = whole if form is None else form.fitted(whole)
        if name == tool.name and tool.namespace is None:
            return tool
        names[name] = (tool.namespace, tool.name)
        return replace(tool, name=name, namespace=None)

    tools = [tool if tool.kind == "server" else fitted(tool) for tool in request.tools]
    messages = [_with_calls(message, fitted) for message in request.input_messages]
    if not names:
        return request, ClientNames()
    if (choice := request.tool_choice) is not None and choice.name is not None:
        by_name = {client: name for name, (_, client) in names.items()}
        request = replace(request, tool_choice=replace(choice, name=by_name.get(choice.name, choice.name)))
    return replace(request, tools=tools, input_messages=messages), ClientNames(names)


def _flat(namespace: str | None, name: str) -> str:
    if namespace is None:
        return name
    return f"{namespace}{name}" if namespace.endswith("__") else f"{namespace}__{name}"


def _with_calls(message: Message, fitted: Any) -> Message:
    if not any(isinstance(part, ToolCall) for part in message.parts):
        return message
    return replace(message, parts=[fitted(part) if isinstance(part, ToolCall) else part for part in message.parts])
