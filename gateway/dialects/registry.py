"""Which dialect is spoken where: by name, and by the path of a request."""

from gateway.dialects import Dialect
from gateway.dialects.anthropic import MESSAGES
from gateway.dialects.openai_chat import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from gateway.dialects.openai_responses import RESPONSES

DIALECTS: dict[str, Dialect] = {d.name: d for d in (CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES)}

_BY_TAIL = {
    ("chat", "completions"): CHAT_COMPLETIONS,
    ("completions",): COMPLETIONS,
    ("embeddings",): EMBEDDINGS,
    ("responses",): RESPONSES,
    ("messages",): MESSAGES,
}


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
