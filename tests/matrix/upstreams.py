"""Scripted providers: one of each dialect, written from the providers' documentation and by none of our own code.

`hear` reads a request as strictly as could be: a field that it does not know fails the test. `whole` and `streamed`
answer; a stream is a list of pieces, each with what a client can know once it has come.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

from tests.matrix import upstreams_claude, upstreams_openai, upstreams_others
from tests.matrix.scenes import Completion, Heard
from tests.matrix.wires import Piece
from tests.support.upstream import Asked, Step, reply, stream


class Upstream(NamedTuple):
    """A provider of one dialect.

    Attributes:
        provider: Its name in the configuration.
        model: A model's name of its kind.
        path: Where such a request goes, with `{model}`.
        error: Makes an error's body: status, the provider's word for it, message.
        broken: The last piece of a stream in which the provider tells of an error; None where it has no way to.

    """

    provider: str
    dialect: str
    model: str
    paths: tuple[str, str]
    hear: Callable[[Any, str], Heard]
    whole: Callable[[Completion, str], dict[str, Any]]
    streamed: Callable[[Completion, str], Iterable[Piece]]
    error: Callable[[int, str, str], dict[str, Any]]
    broken: Callable[[str, str], bytes]
    content_type: str = "text/event-stream"
    key: tuple[str, str] = ("authorization", "Bearer planted")

    @property
    def asked_for(self) -> str:
        """The model as clients say it."""
        return f"{self.provider}/{self.model}"

    def heard(self, asked: Asked) -> Heard:
        """Read a request."""
        heard = self.hear(asked.json, asked.target)
        assert asked.method == "POST"
        target = self.paths[heard.stream].format(model=self.model, quoted=quote(self.model, safe=""))
        # Of the two versions that it has, Google's own SDK asks for the older.
        assert asked.target in {target, target.replace("/v1beta/models", "/v1/models")}
        assert asked.header(self.key[0]) == self.key[1]
        assert asked.header("content-type") == "application/json"
        return heard

    def streams(self, asked: Asked) -> bool:
        """Whether a stream was asked for: by the path, or by the body where the paths are one."""
        by_path = "stream" in asked.target
        return by_path if self.paths[0] != self.paths[1] else bool(asked.json.get("stream"))

    def fails(self, status: int, word: str, message: str, headers: Iterable[tuple[str, str]] = ()) -> list[Step]:
        """Answer with an error."""
        # Bedrock's has its word in a header, with an address behind it.
        named = [("x-amzn-ErrorType", f"{word}:http://internal.amazon.com/coral/")] if self is CONVERSE else []
        return reply(self.error(status, word, message), f"{status} Failed", [*named, *headers])

    def answer(self, completion: Completion, asked: Asked) -> list[Step]:
        """Answer, as a stream where one was asked for."""
        if not self.streams(asked):
            return reply(self.whole(completion, self.model))
        pieces = [piece.data for piece in self.streamed(completion, self.model)]
        return stream(pieces, content_type=self.content_type)


CHAT = Upstream(
    provider="my-chat",
    dialect="openai-chat",
    model="small-4",
    paths=("/v1/chat/completions", "/v1/chat/completions"),
    hear=upstreams_openai.hear_chat,
    whole=upstreams_openai.chat,
    streamed=upstreams_openai.chat_stream,
    error=upstreams_openai.error,
    broken=upstreams_openai.chat_broken,
)
RESPONSES = Upstream(
    provider="my-responses",
    dialect="openai-responses",
    model="gpt-5.4",
    paths=("/v1/responses", "/v1/responses"),
    hear=upstreams_openai.hear_responses,
    whole=upstreams_openai.response,
    streamed=upstreams_openai.response_stream,
    error=upstreams_openai.error,
    broken=upstreams_openai.response_broken,
)
MESSAGES = Upstream(
    provider="my-messages",
    dialect="anthropic-messages",
    model="claude-sonnet-4-5",
    paths=("/v1/messages", "/v1/messages"),
    hear=upstreams_claude.hear_messages,
    whole=upstreams_claude.message,
    streamed=upstreams_claude.message_stream,
    error=upstreams_claude.message_error,
    broken=upstreams_claude.message_broken,
    key=("x-api-key", "planted"),
)
CONVERSE = Upstream(
    provider="my-converse",
    dialect="bedrock-converse",
    model="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    paths=("/model/{quoted}/converse", "/model/{quoted}/converse-stream"),
    hear=upstreams_claude.hear_converse,
    whole=upstreams_claude.converse,
    streamed=upstreams_claude.converse_stream,
    error=upstreams_claude.converse_error,
    broken=upstreams_claude.converse_broken,
    content_type="application/vnd.amazon.eventstream",
)
GEMINI = Upstream(
    provider="my-gemini",
    dialect="gemini",
    model="gemini-3-flash",
    paths=("/v1beta/models/{model}:generateContent", "/v1beta/models/{model}:streamGenerateContent?alt=sse"),
    hear=upstreams_others.hear_gemini,
    whole=upstreams_others.gemini,
    streamed=upstreams_others.gemini_stream,
    error=upstreams_others.gemini_error,
    broken=upstreams_others.gemini_broken,
    key=("x-goog-api-key", "planted"),
)
OLLAMA = Upstream(
    provider="my-ollama",
    dialect="ollama",
    model="qwen3:8b",
    paths=("/api/chat", "/api/chat"),
    hear=upstreams_others.hear_ollama,
    whole=upstreams_others.ollama,
    streamed=upstreams_others.ollama_stream,
    error=upstreams_others.ollama_error,
    broken=upstreams_others.ollama_broken,
    content_type="application/x-ndjson",
)
UPSTREAMS = {
    "chat": CHAT,
    "responses": RESPONSES,
    "messages": MESSAGES,
    "gemini": GEMINI,
    "ollama": OLLAMA,
    "converse": CONVERSE,
}
"""By short names."""


def settings(url: str, tries: int = 4) -> str:
    """Return a gateway.toml in which each is a provider at `url`."""
    lines = ["[retry]", f"max_tries = {tries}", "initial_backoff = 1.0", "jitter = 0.0"]
    for upstream in UPSTREAMS.values():
        lines += [
            f"[providers.{upstream.provider}]",
            f'base_url = "{url}"',
            f'dialect = "{upstream.dialect}"',
            'api_key = "planted"',
        ]
        lines += ["stream_usage = true"] if upstream is CHAT else []
    return "\n".join(lines)
