"""The smallest chat request of each dialect's clients, and providers of each dialect that answer it."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.matrix.scenes import Completion
from tests.matrix.upstreams import UPSTREAMS
from tests.support.gateways import InProcess
from tests.support.raw_http import Answer, exchange, request
from tests.support.upstream import Asked, Step

COMPLETION = Completion(text=("Good ", "day."))
Headers = Iterable[tuple[str, str]]

_TURN = [{"role": "user", "content": "hi"}]
_PARTS = [{"role": "user", "parts": [{"text": "hi"}]}]
_BLOCKS = [{"role": "user", "content": [{"text": "hi"}]}]


class Client(NamedTuple):
    """Where a dialect's clients send a chat: `{model}` in a path is the model then, and the body names none.

    `broken`: what tells them of an error within a stream.
    """

    paths: tuple[str, str]
    body: dict[str, Any]
    broken: bytes

    @property
    def names_model(self) -> bool:
        """Whether the body names the model."""
        return "{model}" not in self.paths[0]


CLIENTS = {
    "chat": Client(("/v1/chat/completions",) * 2, {"messages": _TURN}, b'data: {"error":'),
    "responses": Client(("/v1/responses",) * 2, {"input": "hi"}, b'"error":'),
    "messages": Client(("/v1/messages",) * 2, {"max_tokens": 9, "messages": _TURN}, b"event: error\n"),
    "gemini": Client(
        ("/v1beta/models/{model}:generateContent", "/v1beta/models/{model}:streamGenerateContent?alt=sse"),
        {"contents": _PARTS},
        b'"error":',
    ),
    "ollama": Client(("/api/chat",) * 2, {"messages": _TURN}, b'{"error":'),
    "converse": Client(
        ("/model/{model}/converse", "/model/{model}/converse-stream"), {"messages": _BLOCKS}, b":exception-type"
    ),
}


def chat_request(client: str, model: str, *, streamed: bool = False, headers: Headers = (), **more: Any) -> bytes:
    """Return a client's request. `more`: goes into its body."""
    speaks = CLIENTS[client]
    body = {**speaks.body, **({"model": model, "stream": streamed} if speaks.names_model else {}), **more}
    path = speaks.paths[streamed].replace("{model}", model)
    return request("POST", path, [("Content-Type", "application/json"), *headers], json.dumps(body).encode())


async def ask(
    gateway: InProcess, client: str, model: str, *, streamed: bool = False, headers: Headers = (), **more: Any
) -> Answer:
    """Ask as a client does."""
    return await exchange(gateway.url, chat_request(client, model, streamed=streamed, headers=headers, **more))


def answers(dialect: str, asked: Asked) -> list[Step]:
    """Answer as a provider of a dialect, by its short name."""
    return UPSTREAMS[dialect].answer(COMPLETION, asked)


def fails(dialect: str, status: int, headers: Headers = ()) -> list[Step]:
    """Fail as a provider of a dialect."""
    return UPSTREAMS[dialect].fails(status, "no_word", f"no: {status}", headers)


def provider(name: str, dialect: str, url: str, more: str = 'api_key = "planted"') -> str:
    """Return the table of a provider, whose dialect is said by its short name."""
    return f'[providers.{name}]\nbase_url = "{url}"\ndialect = "{UPSTREAMS[dialect].dialect}"\n{more}\n'


def alias(name: str, *models: str, order: str = "listed") -> str:
    """Return the table of an alias."""
    return f'[aliases.{name}]\norder = "{order}"\ncandidates = {json.dumps(models)}\n'


QUICK = "[retry]\ninitial_backoff = 1.0\njitter = 0.0\n"


def facts(gateway: InProcess, *columns: str) -> list[tuple[Any, ...]]:
    """Return columns of the attempts, in the order in which they were made."""
    rows = sorted(gateway.rows("CLIENT"), key=lambda row: row["start_ns"])
    return [tuple(row.get(column) for column in columns) for row in rows]
