"""Which dialect is spoken where: by name, by the path of a request, and by the shape of its body."""

import re

from msgspec import Struct

from gateway.dialects import Dialect, bedrock, gemini
from gateway.dialects.anthropic.read_response import MESSAGES
from gateway.dialects.anthropic.write_response import MESSAGES_WRITER
from gateway.dialects.bedrock import CONVERSE
from gateway.dialects.bedrock.write_request import CONVERSE_WRITER
from gateway.dialects.gemini import GEMINI
from gateway.dialects.gemini.writer import GEMINI_WRITER
from gateway.dialects.ollama.read_response import OLLAMA_CHAT, OLLAMA_EMBED, OLLAMA_GENERATE
from gateway.dialects.ollama.write_request import OLLAMA_WRITER
from gateway.dialects.openai_chat.read_response import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from gateway.dialects.openai_chat.write_response import CHAT_WRITER
from gateway.dialects.openai_responses.read_response import RESPONSES
from gateway.dialects.openai_responses.write_response import RESPONSES_WRITER
from gateway.dialects.shared.writer import Writer
from gateway.dialects.wire.edit import Peek

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        CHAT_COMPLETIONS,
        COMPLETIONS,
        EMBEDDINGS,
        RESPONSES,
        MESSAGES,
        GEMINI,
        OLLAMA_CHAT,
        OLLAMA_GENERATE,
        OLLAMA_EMBED,
        CONVERSE,
    )
}
WRITERS: dict[str, Writer] = {
    writer.name: writer
    for writer in (CHAT_WRITER, RESPONSES_WRITER, MESSAGES_WRITER, GEMINI_WRITER, OLLAMA_WRITER, CONVERSE_WRITER)
}

# Several operations are part of what a provider of one dialect speaks, and are written by its writer.
SPOKEN_AS = {
    COMPLETIONS.name: CHAT_COMPLETIONS.name,
    EMBEDDINGS.name: CHAT_COMPLETIONS.name,
    OLLAMA_CHAT.name: OLLAMA_WRITER.name,
    OLLAMA_GENERATE.name: OLLAMA_WRITER.name,
    OLLAMA_EMBED.name: OLLAMA_WRITER.name,
}

_BY_TAIL = {
    ("chat", "completions"): CHAT_COMPLETIONS,
    ("completions",): COMPLETIONS,
    ("embeddings",): EMBEDDINGS,
    ("responses",): RESPONSES,
    ("messages",): MESSAGES,
    ("api", "chat"): OLLAMA_CHAT,
    ("api", "generate"): OLLAMA_GENERATE,
    ("api", "embed"): OLLAMA_EMBED,
    ("api", "embeddings"): OLLAMA_EMBED,
}


# What can be done with a model of Google's: in OpenAI's and Ollama's paths a colon is part of the name.
_ACTIONS = re.compile(r"\w*([gG]enerateContent|[cC]ountTokens|[cC]omputeTokens|[eE]mbedContents?|[pP]redict\w*)")


class InPath(Struct, frozen=True):
    """What the path of a request says that other dialects say in the body.

    `spoken` is the dialect of such paths; `dialect` is None where what is asked is only relayed.
    """

    spoken: str
    dialect: Dialect | None
    model: str
    stream: bool = False


def classify(method: str, path: str) -> Dialect | None:
    """Return how a request and its response are read; None where only their HTTP facts are.

    What stands before the operation's own words (a mount, `/v1`, `/v1/v1`, a deployment) does not matter.
    """
    if method.upper() != "POST":
        return None
    segments = tuple(s for s in path.partition("?")[0].split("/") if s)
    if "threads" in segments:  # the Assistants API's messages are none of Anthropic's
        return None
    return _BY_TAIL.get(segments[-2:]) or _BY_TAIL.get(segments[-1:])


def in_path(method: str, path: str) -> InPath | None:
    """Return what Gemini's and Bedrock's paths say; None for a path of another API."""
    if ":" in path and (named := gemini.model_in(path)) is not None and _ACTIONS.fullmatch(named[1]):
        model, action = named
        read = method == "POST" and action in {"generateContent", "streamGenerateContent"}
        return InPath(GEMINI.name, GEMINI if read else None, model, action == "streamGenerateContent")
    if "/converse" in path and (called := bedrock.model_in(path)) is not None:
        return InPath(CONVERSE.name, CONVERSE if method == "POST" else None, *called)
    return None


def by_shape(dialect: Dialect, seen: Peek) -> Dialect:
    """Return the dialect a body is in, where it is not the path's: some clients post one's body to another's path.

    Cursor sends bodies of the Responses API to `/chat/completions`, and is answered as that path answers.
    """
    fields = seen.fields
    if dialect in (CHAT_COMPLETIONS, MESSAGES) and "input" in fields and "messages" not in fields:
        return RESPONSES
    if (
        dialect in (CHAT_COMPLETIONS, MESSAGES, RESPONSES)
        and "contents" in fields
        and not fields & {"messages", "input"}
    ):
        return GEMINI
    if dialect is RESPONSES and "messages" in fields and "input" not in fields:
        return MESSAGES if "system" in fields else CHAT_COMPLETIONS
    if dialect is MESSAGES and fields & {"max_completion_tokens", "response_format"}:
        return CHAT_COMPLETIONS
    return dialect
