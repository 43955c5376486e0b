"""The six dialects by name, their fixtures cut into events, and what is compared when one is written as another."""

from typing import Any, NamedTuple

from gateway.dialects import Dialect
from gateway.dialects.anthropic import MESSAGES, MESSAGES_WRITER
from gateway.dialects.bedrock import CONVERSE, CONVERSE_WRITER
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolCallResponse,
)
from gateway.dialects.gemini import GEMINI, GEMINI_WRITER
from gateway.dialects.ollama import OLLAMA_CHAT, OLLAMA_WRITER
from gateway.dialects.openai_chat import CHAT_COMPLETIONS, CHAT_WRITER
from gateway.dialects.openai_responses import RESPONSES, RESPONSES_WRITER
from gateway.dialects.shared.writer import Writer
from tests.dialects.botocores import framed
from tests.support.paths import FIXTURES


class Spoken(NamedTuple):
    """A dialect, both ways, and the path of its requests."""

    dialect: Dialect
    writer: Writer
    path: str

    def asked(self, body: bytes, path: str | None = None) -> ChatRequest:
        """Read a request."""
        assert self.dialect.read_conversation is not None
        return self.dialect.read_conversation(body, path or self.path)


SPOKEN = {
    "chat": Spoken(CHAT_COMPLETIONS, CHAT_WRITER, "/v1/chat/completions"),
    "responses": Spoken(RESPONSES, RESPONSES_WRITER, "/v1/responses"),
    "messages": Spoken(MESSAGES, MESSAGES_WRITER, "/v1/messages"),
    "gemini": Spoken(GEMINI, GEMINI_WRITER, "/v1beta/models/m:streamGenerateContent"),
    "ollama": Spoken(OLLAMA_CHAT, OLLAMA_WRITER, "/api/chat"),
    "bedrock": Spoken(CONVERSE, CONVERSE_WRITER, "/model/m/converse-stream"),
}


def family(name: str) -> str:
    """Return whose dialect a fixture is in; none for those of other operations."""
    return name.partition(".")[0].partition("_")[0]


def _named(*suffixes: str) -> list[str]:
    found = (path.name for path in sorted(FIXTURES.iterdir()) if path.suffix in suffixes)
    return [name for name in found if family(name) in SPOKEN and "generate" not in name and "embed" not in name]


STREAMS = _named(".sse", ".ndjson", ".events")
REQUESTS = [name for name in _named(".json") if "_request" in name]
WHOLE = [name for name in _named(".json") if "_whole" in name]


def pieces_of(name: str) -> list[bytes]:
    """Return a stream's events."""
    data = (FIXTURES / name).read_bytes()
    if name.endswith(".events"):
        return framed(data)
    if name.endswith(".ndjson"):
        return data.splitlines(keepends=True)
    return [event + b"\n\n" for event in data.split(b"\n\n") if event]


class Gist(NamedTuple):
    """The content of a first choice that every dialect has, without white space, which may keep parts apart."""

    text: str
    reasoning: str
    calls: list[tuple[str, Any]]
    finish_reason: str | None
    usage: tuple[int | None, int | None]
    error: str | None


def gist(answered: ChatResponse) -> Gist:
    """Return what of a response is compared."""
    message = answered.output_messages[0] if answered.output_messages else Message(role="assistant", parts=[])
    usage = answered.usage
    return Gist(
        text=bare("".join(p.content for p in message.parts if isinstance(p, Text | Refusal))),
        reasoning=bare("".join(p.content for p in message.parts if isinstance(p, Reasoning))),
        calls=[(p.name, p.arguments or {}) for p in message.parts if isinstance(p, ToolCall)],
        finish_reason=message.finish_reason,
        usage=(usage.input_tokens, usage.output_tokens) if usage is not None else (None, None),
        error=answered.error_message,
    )


def bare(text: str) -> str:
    """Return a text without its white space."""
    return "".join(text.split())


def flat(asked: ChatRequest) -> list[tuple[Any, ...]]:
    """Return a conversation's content in order, without its division into turns."""
    system = [p.content for p in asked.system_instructions if isinstance(p, Text)]
    turns: list[tuple[Any, ...]] = []
    calls: dict[str | None, int] = {}
    for message in asked.input_messages:
        role = "user" if message.role == "tool" else message.role
        for part in message.parts:
            if role in {"system", "developer"}:
                system.append(part.content if isinstance(part, Text) else "")
            elif isinstance(part, ToolCall):
                turns.append(("call", part.name, part.arguments or {}))
                calls[part.id] = len(calls)
            elif isinstance(part, ToolCallResponse):
                turns.append(("result", calls.get(part.id), shown(part.response)))
            else:
                turns.append((role, *_of(part)))
    return [("system", bare("".join(system))), *_joined(turns)]


def shown(response: Any) -> str:
    """Return a tool's answer as text."""
    if isinstance(response, list):
        return bare("".join(part.content for part in response if isinstance(part, Text)))
    return bare(response) if isinstance(response, str) else str(response)


def _of(part: Part) -> tuple[str, str]:
    if isinstance(part, Text):
        return "text", bare(part.content)
    return type(part).__name__, part.content if isinstance(part, Blob) else ""


def _joined(turns: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Join texts of one side that follow each other."""
    joined: list[tuple[Any, ...]] = []
    for each in turns:
        if joined and each[1] == "text" and joined[-1][:2] == each[:2]:
            joined[-1] = (*each[:2], joined[-1][2] + each[2])
        else:
            joined.append(each)
    return joined
