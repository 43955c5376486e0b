"""The items of OpenAI's Responses, which both its requests and its responses are made of, as parts.

Items are distinguished by two rules that hold for future tools too: a type that ends in `_output` is a
tool's result, and of the types that end in `_call`, the client runs those with a `call_id` and the provider the rest.
"""

from typing import Any

import msgspec

from gateway.dialects.conversation import (
    Blob,
    Citation,
    Compaction,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    TokenLogprob,
    ToolCall,
    ToolCallResponse,
    Uri,
    tool_answer,
)
from gateway.dialects.shared.extra import decode_state, own
from gateway.dialects.shared.messages import attached, located, sound
from gateway.dialects.wire.json import count, fields, json_value, objects, text

NAME = "openai-responses"
ADDITIONAL_TOOLS = "additional_tools"
"""The type of an item that offers tools, beside the field for them."""

# The fields for the result of a tool that the provider ran.
_RESULTS = ("outputs", "results", "output", "result", "error")


def read_input(value: Any) -> list[Message]:
    """Read a request's `input`: a text or a list of items; consecutive items of one role are one message."""
    if isinstance(value, str):
        return [Message(role="user", parts=[Text(content=value)])]
    messages: list[Message] = []
    for item in objects(value):
        role, parts = _role(item), read_item(item)
        if messages and role in {"assistant", "tool"} and messages[-1].role == role:
            messages[-1].parts.extend(parts)
        else:
            messages.append(Message(role=role, parts=parts))
    return messages


def _role(item: dict[str, Any]) -> str:
    kind = text(item.get("type"))
    if kind in {None, "message"}:
        return text(item.get("role")) or "user"
    return "tool" if kind and kind.endswith("_output") else "assistant"


def read_item(item: dict[str, Any]) -> list[Part]:
    """Read one item."""
    kind = text(item.get("type")) or "message"
    match kind:
        case "message":
            return _phased(_content(item.get("content")), item)
        case "reasoning":
            return _reasoning(item)
        case "function_call":
            arguments = json_value(item.get("arguments"))
            called = text(item.get("name")) or ""
            namespace = text(item.get("namespace"))
            return [ToolCall(id=text(item.get("call_id")), name=called, namespace=namespace, arguments=arguments)]
        case "custom_tool_call":
            called = text(item.get("name")) or ""
            namespace = text(item.get("namespace"))
            return [
                ToolCall(
                    id=text(item.get("call_id")),
                    name=called,
                    namespace=namespace,
                    arguments=item.get("input"),
                    custom=True,
                )
            ]
        case "compaction":
            return [Compaction(id=text(item.get("id")), extra=own(NAME, item, "encrypted_content"))]
    if kind.endswith("_output"):
        usual = kind in {"function_call_output", "custom_tool_call_output"}
        return [
            ToolCallResponse(
                id=text(item.get("call_id")),
                response=_answer(item.get("output")),
                custom=kind == "custom_tool_call_output",
                extra={} if usual else {NAME: {"type": kind}},
            )
        ]
    rest = {k: v for k, v in item.items() if k not in {"type", "id", "status"}}
    if not kind.endswith("_call"):
        return [Other(kind=kind, value={k: v for k, v in item.items() if k != "type"}, dialect=NAME)]
    if call_id := text(rest.pop("call_id", None)):
        return [
            ToolCall(id=call_id, name=kind.removesuffix("_call"), arguments=rest, extra=own(NAME, item, "type", "id"))
        ]
    return _server_tool(kind, text(item.get("id")), rest, item)


def _phased(parts: list[Part], item: dict[str, Any]) -> list[Part]:
    """Return a message's parts; its phase (a final answer, a comment on the way) is kept on the first text."""
    if parts and isinstance(first := parts[0], Text) and (phase := own(NAME, item, "phase")):
        return [msgspec.structs.replace(first, extra=phase), *parts[1:]]
    return parts


def _server_tool(kind: str, call_id: str | None, rest: dict[str, Any], item: dict[str, Any]) -> list[Part]:
    name = text(rest.get("name")) or kind.removesuffix("_call")
    call = {"type": kind, **{k: v for k, v in rest.items() if k not in _RESULTS}}
    results = {k: rest[k] for k in _RESULTS if rest.get(k) is not None}
    ended = item.get("status") in (None, "completed")
    extra = {} if ended else own(NAME, item, "status")
    parts: list[Part] = [ServerToolCall(id=call_id, name=name, server_tool_call=call, extra=extra)]
    if kind == "image_generation_call" and (image := text(results.get("result"))):
        mime_type = f"image/{text(rest.get('output_format')) or 'png'}"
        parts.append(Blob(modality="image", mime_type=mime_type, content=image))
    elif results:
        parts.append(ServerToolCallResponse(id=call_id, server_tool_call_response={"type": kind, **results}))
    return parts


def _reasoning(item: dict[str, Any]) -> list[Part]:
    """Read a reasoning item: its summary and its text, or one empty part if neither is shown.

    Its signature is on the last part, as in a stream.
    """
    shown = [t for key in ("summary", "content") for p in objects(item.get(key)) if (t := text(p.get("text")))]
    carries = decode_state(item.get("encrypted_content"))
    proof = own(NAME, item, "id", "encrypted_content") if carries is None else carries
    *before, last = shown or [""]
    return [*(Reasoning(content=each) for each in before), Reasoning(content=last, extra=proof)]


def _content(content: Any) -> list[Part]:
    if isinstance(content, str):
        return [Text(content=content)] if content else []
    return [_part(p) for p in objects(content)]


def _part(part: dict[str, Any]) -> Part:
    kind = text(part.get("type")) or ""
    match kind:
        case "input_text" | "output_text" | "text" if isinstance(part.get("text"), str):
            return Text(
                content=part["text"],
                citations=_citations(part.get("annotations")),
                logprobs=_logprobs(part.get("logprobs")),
            )
        case "refusal" if isinstance(part.get("refusal"), str):
            return Refusal(content=part["refusal"])
        case "input_image" | "computer_screenshot":
            detail = own(NAME, part, "detail") if part.get("detail") != "auto" else {}
            if url := text(part.get("image_url")):
                read = located(url, "image")
                return msgspec.structs.replace(read, extra=detail) if detail and isinstance(read, Blob | Uri) else read
            if file_id := text(part.get("file_id")):
                return File(modality="image", file_id=file_id, extra=detail)
        case "input_audio":
            return sound(fields(part.get("input_audio")) or part)
        case "input_file":
            return attached(part)
    return Other(kind=kind, value={k: v for k, v in part.items() if k != "type"}, dialect=NAME)


_PLACES = frozenset({"start_index", "end_index"})


def _citations(annotations: Any) -> list[Citation]:
    """Read a text's citations: of an address, unless the type is another."""
    return [_citation(each) for each in objects(annotations)]


def _citation(annotation: dict[str, Any]) -> Citation:
    of_url = annotation.get("type") == "url_citation"
    title = "title" if of_url else "filename"
    known = {"url", title, *_PLACES} | ({"type"} if of_url else set())
    rest = {key: value for key, value in annotation.items() if key not in known and value is not None}
    return Citation(
        uri=text(annotation.get("url")),
        title=text(annotation.get(title)),
        start=count(annotation.get("start_index")),
        end=count(annotation.get("end_index")),
        extra={NAME: rest} if rest else {},
    )


def _logprobs(logprobs: Any) -> list[TokenLogprob]:
    return [
        TokenLogprob(token=token, logprob=float(value), top=_logprobs(each.get("top_logprobs")))
        for each in objects(logprobs)
        if isinstance(token := each.get("token"), str) and isinstance(value := each.get("logprob"), int | float)
    ]


def _answer(output: Any) -> Any:
    """Read a tool's result: a text, a list of content parts, or a value of its own."""
    if isinstance(output, dict):
        return tool_answer([_part(output)]) if "type" in output else output
    if isinstance(output, list):
        return tool_answer(_content(output))
    return output
