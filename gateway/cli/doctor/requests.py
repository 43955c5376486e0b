"""The requests of one run: their bytes, what the scripted provider does with each, and what must come of them. Pure.

A request in a dialect is written by the dialect's own writer, with a canary in every place that takes text.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, Unpack

import msgspec
from msgspec import Struct, structs

from gateway.cli.doctor.canaries import Canaries
from gateway.cli.doctor.configuration import DIALECTS, REFUSING, TLS, LoopbackConfig
from gateway.config.model import Capture, DialectName
from gateway.dialects.conversation import ChatRequest, Message, Text, Tool, ToolCall, ToolCallResponse
from gateway.dialects.registry import ENDPOINTS, WRITERS
from gateway.dialects.shared.writer import Written
from gateway.semconv import CHAT
from gateway.tracing.capture import CapturePolicy

Script = Literal["answer", "refuse", "retry", "broken", "hang", "silent", "garbage", "reset"]
"""The provider answers; refuses every time; refuses once; breaks the stream; stops within it; never answers; answers
with no HTTP; resets the connection."""

MARK = "x-doctor"
"""The header that names the request to the provider."""

MODEL = "m"
TOOL = "look"
SHORT = {dialect: name.removeprefix("doctor-") for dialect, name in DIALECTS.items()}

Header = tuple[str, str]
Credential = Callable[[str], Header]
"""Makes the header that shows a key, for the request of an id."""

_TOOLS = [Tool(name=TOOL, parameters={"type": "object", "properties": {"q": {"type": "string"}}})]


class Expected(Struct, frozen=True, kw_only=True):
    """The result without which a request counts as not checked.

    Attributes:
        status: The lowest and the highest status that the client may get; None for any.
        attempts: How often the provider is asked; None for at least once.
        exchange: Whether the store has an exchange, of `outcome` if that is given.
        stored: Content that the store has if `[capture]` is full.
        withheld: Whether the provider may not be sent the request's own keys.
        quoted: Whether the client may read its own bytes in the response, as those of a request that is no HTTP.

    """

    status: tuple[int, int] | None = (200, 200)
    attempts: int | None = 1
    exchange: bool = True
    outcome: str | None = None
    stored: tuple[str, ...] = ()
    withheld: bool = False
    quoted: bool = False


class Request(Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        row: Its line of the report.
        case: What distinguishes it within the row: a dialect, or the place of a key.
        disconnects: Whether the client leaves after the first bytes of a response.
        texts: The provider's completion, tool argument and error detail.
        capture: What each sink may have of it.

    """

    id: str
    row: str
    case: str
    data: bytes
    expected: Expected
    script: Script = "answer"
    status: int = 500
    stream: bool = False
    disconnects: bool = False
    texts: tuple[str, str, str] = ("", "", "")
    marker: str = ""
    capture: Capture = Capture()

    def __repr__(self) -> str:
        return f"<Request {self.name}>"

    @property
    def name(self) -> str:
        """Row and case in one line."""
        return f"{self.row}: {self.case}" if self.case else self.row


class Play(TypedDict, total=False):
    """The fields of a request that direct the provider and the client."""

    script: Script
    status: int
    stream: bool
    disconnects: bool


class Raw(Struct, frozen=True, kw_only=True):
    """A request outside of the dialects. `body`: bytes, or a value to write as JSON."""

    target: str
    method: str = "POST"
    headers: Sequence[Header] = ()
    body: Any = b""
    token: bool = True


class Builder:
    """Builds requests and numbers them. `text`: in every prompt and answer, for `[redaction]` to remove."""

    def __init__(self, canaries: Canaries, config: LoopbackConfig, host: str, text: str = "") -> None:
        self.canaries = canaries
        self.config = config
        self.text = text
        self._host = host
        self._count = 0

    def raw(self, row: str, case: str, make: Callable[[str], Raw], expected: Expected, **play: Unpack[Play]) -> Request:
        """Return a request of any bytes. `make` gets the id."""
        id_ = self._next_id()
        data = self._bytes(id_, make(id_))
        capture, texts = self.config.capture, self._texts(id_)
        return Request(
            id=id_, row=row, case=case, data=data, expected=expected, texts=texts, marker=self.marker(id_),
            capture=capture, **play,
        )  # fmt: skip

    def chat(
        self,
        row: str,
        dialect: DialectName,
        *,
        mount: str | None = None,
        model: str = MODEL,
        case: str = "",
        credential: Credential | None = None,
        capture: str = "",
        times: int = 1,
        expected: Expected | None = None,
        **play: Unpack[Play],
    ) -> Request:
        """Return a request in a dialect, to a provider's `mount` or by its `model`.

        `credential`: in the place of the key that the dialect's clients send. `capture`: the header x-gateway-capture.
        `times`: how often each text repeats the key.
        """
        id_, canaries = self._next_id(), self.canaries
        # A key that the request was not sent with cannot be recognized in its texts.
        key = "" if credential else canaries.secret(f"a client's key, as clients of {dialect} show it", id_)
        prompt = canaries.content("a prompt", id_)
        written = self._written(id_, dialect, prompt, key * times, model, stream=play.get("stream", False))
        query = written.query
        if credential is not None:
            headers = [credential(id_)]
        else:
            query += ("&" if query else "") + f"key={canaries.secret('a key in the query (?key=)', id_)}"
            cookie = canaries.secret("a cookie", id_)
            headers = [*_native(dialect, key), ("Cookie", f"theme=dark; session={cookie}")]
        if capture:
            headers.append(("x-gateway-capture", capture))
        target = (
            (f"/{mount}" if mount else "") + ENDPOINTS[dialect].base_path + written.path + "?" * bool(query) + query
        )
        texts = self._texts(id_, key, key * times)
        expected = expected or Expected()
        if expected.status is not None and mount not in {REFUSING, TLS}:
            whole = expected.status == (200, 200) and play.get("script", "answer") in {"answer", "retry"}
            expected = structs.replace(expected, stored=(prompt, texts[0].partition(" ")[0]) if whole else (prompt,))
        return Request(
            id=id_, row=row, case=case or SHORT[dialect], expected=expected, texts=texts, marker=self.marker(id_),
            data=self._bytes(id_, Raw(target=target, headers=headers, body=written.body)),
            capture=CapturePolicy(self.config.capture).within(capture or "full").capture, **play,
        )  # fmt: skip

    def marker(self, id_: str) -> str:
        """Return a request's session, by which its exchange is found."""
        return f"doctor-{self.canaries.run}-{id_}"

    def _next_id(self) -> str:
        self._count += 1
        return f"p{self._count:03}"

    def _texts(self, id_: str, key: str = "", keys: str = "") -> tuple[str, str, str]:
        content = self.canaries.content
        return (
            f"{content('a completion', id_)} {self.text} {keys}",
            f"{content('arguments of a tool call in an answer', id_)} {self.text} {key}",
            f"{content('the body of an error', id_)} {self.text}",
        )

    def _written(self, id_: str, dialect: DialectName, prompt: str, keys: str, model: str, *, stream: bool) -> Written:
        """Write a system prompt, a prompt with an environment variable, a tool call, and its result."""
        content = self.canaries.content
        call = f"{content('arguments of a tool call in a request', id_)} {self.text} {keys}"
        messages = [
            Message(role="user", parts=[Text(content=f"{prompt} {self.text} API_KEY={keys}")]),
            Message(role="assistant", parts=[ToolCall(id="call_1", name=TOOL, arguments={"q": call})]),
            Message(role="tool", parts=[
                ToolCallResponse(id="call_1", name=TOOL, response=f"{content('a tool result', id_)} {keys}")
            ]),
        ]  # fmt: skip
        chat = ChatRequest(
            operation=CHAT, model=model, stream=stream, input_messages=messages, tools=_TOOLS,
            system_instructions=[Text(content=content("a system prompt", id_))],
        )  # fmt: skip
        return WRITERS[dialect].request(chat)

    def _bytes(self, id_: str, raw: Raw) -> bytes:
        lines = [f"{raw.method} {raw.target} HTTP/1.1", f"Host: {self._host}", "Connection: close", f"{MARK}: {id_}"]
        lines.append(f"x-gateway-session: {self.marker(id_)}")
        if self.text and self.text.isascii() and self.text.isprintable():
            lines.append(f"x-gateway-user: {self.text}")
        if raw.token and self.config.required:
            lines.append(f"x-gateway-token: {self.config.token}")
        lines += [f"{name}: {value}" for name, value in raw.headers]
        body = raw.body if isinstance(raw.body, bytes) else msgspec.json.encode(raw.body)
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def _native(dialect: DialectName, key: str) -> list[Header]:
    """Return the headers by which the dialect's clients show a key, and those that its API requires."""
    endpoint = ENDPOINTS[dialect]
    shown = ("Authorization", f"Bearer {key}") if endpoint.key_header == "bearer" else (endpoint.key_header, key)
    return [shown, *((name.decode(), value.decode()) for name, value in endpoint.headers)]
