"""What is sent: each path of a request through the gateway that may leave something behind, with canaries of its own.

Pure: a cage and what is known of the configuration in, requests and what is expected of them out.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

from msgspec import Struct, structs

from gateway.cli.doctor import requests
from gateway.cli.doctor.canaries import Cage
from gateway.cli.doctor.settings import DIALECTS, KEYED, NAMED, NOBODY, SIGNED, SLOW, TLS, Setting, basic
from gateway.config.model import Capture, DialectName
from gateway.tracing.capture import CapturePolicy

Script = Literal["answer", "refuse", "retry", "broken", "hang", "silent", "garbage", "reset"]
"""What the provider does: answers; refuses each time; only once; breaks off in the middle; stops there, and waits; says
nothing; says no HTTP; resets the connection."""

MANY = 300
"""So often a key is said where what is said is to be cut: it is cut within one."""

MARK = "x-doctor"
"""The header that tells the provider which path a request is of."""

Header = tuple[str, str]
Shown = Callable[[str], Header]
"""A key as it is shown on a path."""

_SHORT = {dialect: name.removeprefix("doctor-") for dialect, name in DIALECTS.items()}
# Whom each dialect's clients are translated for.
_PAIRS: tuple[tuple[DialectName, DialectName], ...] = (
    ("openai-chat", "anthropic-messages"),
    ("openai-responses", "gemini"),
    ("anthropic-messages", "openai-chat"),
    ("gemini", "openai-responses"),
    ("ollama", "openai-chat"),
    ("bedrock-converse", "ollama"),
)


class Expected(Struct, frozen=True, kw_only=True):
    """What must have happened for a path to have been tried.

    Attributes:
        status: What the client gets, from and to; None where nothing can be said of it.
        asked: How often the provider is asked; None where it is asked at least once.
        exchange: Whether there is an exchange in the store; `outcome`: how it ended, where that is known.
        kept: Content that is in the store where `[capture]` says full.

    """

    status: tuple[int, int] | None = (200, 200)
    asked: int | None = 1
    exchange: bool = True
    outcome: str | None = None
    kept: tuple[str, ...] = ()


class Path(Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        row: The line of the table that it counts for.
        who: What sets it apart from the others there: a dialect, or the place of a key.
        leaves: Whether the client goes away once it has seen something of the answer.
        says: What the provider says in an answer, as a tool's argument, and within an error.
        capture: How much of it may be kept.

    """

    id: str
    row: str
    who: str
    data: bytes
    expected: Expected
    script: Script = "answer"
    status: int = 500
    stream: bool = False
    leaves: bool = False
    says: tuple[str, str, str] = ("", "", "")
    marker: str = ""
    capture: Capture = Capture()

    def __repr__(self) -> str:
        """Keep the canaries out."""
        return f"<Path {self.name}>"

    @property
    def name(self) -> str:
        """Name it in one line."""
        return f"{self.row}: {self.who}" if self.who else self.row


class Paths:
    """Makes all paths. `text`: what else every prompt and answer says, for `[redaction]` to take out."""

    def __init__(self, cage: Cage, setting: Setting, host: str, text: str = "") -> None:
        self.cage = cage
        self.text = text
        self._setting = setting
        self._host = host
        self._count = 0

    def all(self) -> list[Path]:
        """Return them, in the order of the table."""
        return [
            *self._by_dialect(),
            *self._translated(),
            *self._failing(),
            *self._of_keys(),
            *self._less(),
            *self._configured(),
        ]

    def next_id(self) -> str:
        """Return the id of the next path."""
        self._count += 1
        return f"p{self._count:03}"

    def marker(self, path: str) -> str:
        """Return what a path's exchange can be found by: it is told as its session."""
        return f"doctor-{self.cage.run}-{path}"

    def said(self, path: str, key: str) -> requests.Said:
        """Return what the client says: an agent that reads its own environment aloud, too."""
        content = self.cage.content
        return requests.Said(
            system=content("a system prompt", path),
            prompt=f"{content('a prompt', path)} {self.text} API_KEY={key}",
            arguments=f"{content('arguments of a tool call in a request', path)} {self.text} {key}",
            result=f"{content('a tool result', path)} {key}",
        )

    def request(
        self, path: str, method: str, target: str, headers: list[Header], body: bytes = b"", *, token: bool = True
    ) -> bytes:
        """Return a request's bytes. `token`: whether the gateway's own is shown where it is needed."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}", "Connection: close", f"{MARK}: {path}"]
        lines.append(f"x-gateway-session: {self.marker(path)}")
        if self.text.isascii() and self.text.isprintable() and self.text:
            lines.append(f"x-gateway-user: {self.text}")
        if token and self._setting.required:
            lines.append(f"x-gateway-token: {self._setting.token}")
        lines += [f"{name}: {value}" for name, value in headers]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body

    def asking(
        self,
        row: str,
        dialect: DialectName,
        *,
        mount: str = "",
        model: str = requests.MODEL,
        who: str | None = None,
        script: Script = "answer",
        status: int = 500,
        stream: bool = False,
        leaves: bool = False,
        shown: Shown | None = None,
        less: str = "",
        times: int = 1,
        expected: Expected | None = None,
    ) -> Path:
        """Return a path of one dialect. `shown`: a key, instead of the one that its clients bring.

        `less`: what the request says of how much is to be kept. `times`: how often each text says the key.
        """
        path = self.next_id()
        cage, who = self.cage, who or _SHORT[dialect]
        # Nobody can know a key in a text that was not shown as one.
        key = cage.secret(f"a client's key, as clients of {dialect} show it", path) if shown is None else ""
        said = self.said(path, key * times)
        sent = requests.sent(dialect, said, stream=stream, model=model)
        target = mount + sent.target
        if shown is not None:
            headers = [shown(path)]
        else:
            query = "&" if "?" in target else "?"
            target += f"{query}key={cage.secret('a key in the query (?key=)', path)}"
            headers = requests.natural_headers(dialect, key)
            headers.append(("Cookie", f"theme=dark; session={cage.secret('a cookie', path)}"))
        if less:
            headers = [*headers, ("x-gateway-capture", less)]
        answer = cage.content("a completion", path)
        expected = expected or Expected()
        if expected.status is not None and mount.removeprefix("/") not in {NOBODY, TLS}:
            prompt = said.prompt.partition(" ")[0]
            kept = (prompt, answer) if expected.status == (200, 200) and script in {"answer", "retry"} else (prompt,)
            expected = structs.replace(expected, kept=kept)
        return Path(
            id=path,
            row=row,
            who=who,
            data=self.request(path, "POST", target, headers, sent.body),
            expected=expected,
            script=script,
            status=status,
            stream=stream,
            leaves=leaves,
            says=(
                f"{answer} {self.text} {key * times}",
                f"{cage.content('arguments of a tool call in an answer', path)} {self.text} {key}",
                f"{cage.content('the body of an error', path)} {self.text}",
            ),
            marker=self.marker(path),
            capture=CapturePolicy(self._setting.capture).within(less or "full").capture,
        )

    def _by_dialect(self) -> Iterator[Path]:
        for dialect, name in DIALECTS.items():
            mount = f"/{name}"
            yield self.asking("answer", dialect, mount=mount)
            yield self.asking("stream", dialect, mount=mount, stream=True)
            for status in (400, 401):
                yield self._refused(f"error {status}", dialect, mount, status, 1)
            for status in (429, 500):
                yield self._refused(f"error {status}, tried twice", dialect, mount, status, 2)
            retried = Expected(asked=2)
            yield self.asking("retry, then an answer", dialect, mount=mount, script="retry", expected=retried)
            broken, left = Expected(outcome="upstream_abort"), Expected(outcome="client_abort")
            yield self.asking(
                "stream that breaks off", dialect, mount=mount, script="broken", stream=True, expected=broken
            )
            yield self.asking(
                "client that leaves", dialect, mount=mount, script="hang", stream=True, leaves=True, expected=left
            )

    def _refused(self, row: str, dialect: DialectName, mount: str, status: int, asked: int) -> Path:
        expected = Expected(status=(status, status), asked=asked)
        return self.asking(row, dialect, mount=mount, script="refuse", status=status, expected=expected)

    def _translated(self) -> Iterator[Path]:
        for dialect, other in _PAIRS:
            model, who = f"{DIALECTS[other]}/m", f"{_SHORT[dialect]} to {_SHORT[other]}"
            yield self.asking("translated answer", dialect, model=model, who=who)
            yield self.asking("translated stream", dialect, model=model, who=who, stream=True)
            failed = Expected(status=(401, 401))
            yield self.asking(
                "translated error", dialect, model=model, who=who, script="refuse", status=401, expected=failed
            )
            broken = Expected(status=(200, 599))
            yield self.asking(
                "translated stream that breaks off", dialect, model=model, who=who, script="broken", stream=True,
                expected=broken,
            )  # fmt: skip

    def _failing(self) -> Iterator[Path]:
        chat: DialectName = "openai-chat"
        ours = Expected(status=(502, 502), asked=0)
        yield self.asking("nobody listens", chat, mount=f"/{NOBODY}", expected=ours)
        yield self.asking("TLS fails", chat, mount=f"/{TLS}", expected=ours)
        late = Expected(status=(504, 504))
        yield self.asking("no answer in time", chat, mount=f"/{SLOW}", script="silent", expected=late)
        wrong = Expected(status=(502, 502), asked=2)
        scripts: tuple[tuple[str, Script], ...] = (
            ("a response that is no HTTP", "garbage"),
            ("a connection that is reset", "reset"),
        )
        for row, script in scripts:
            yield self.asking(row, chat, mount=f"/{DIALECTS[chat]}", script=script, expected=wrong)

    def _of_keys(self) -> Iterator[Path]:
        """Give a refused request for each place where a client's key may be, and for the keys of the configuration."""
        cage, chat = self.cage, DIALECTS["openai-chat"]
        refused = Expected(status=(401, 401))

        def asking(who: str, headers: Shown) -> Path:
            return self.asking(
                "client's keys, an error 401", "openai-chat", mount=f"/{chat}", who=who, script="refuse", status=401,
                shown=headers, expected=refused,
            )  # fmt: skip

        def plain(path: str, name: str) -> Header:
            return name, cage.secret(f"a client's key ({name})", path)

        def password(path: str, name: str) -> Header:
            return name, basic(cage.secret(f"a password ({name}: Basic)", path))

        for name in ("x-api-key", "api-key", "x-goog-api-key", "x-auth-token", "ocp-apim-subscription-key"):
            yield asking(name, partial(plain, name=name))
        for name in ("Authorization", "Proxy-Authorization"):
            yield asking(f"{name}: Basic", partial(password, name=name))
        yield asking("x-gateway-token", lambda _: ("x-gateway-token", self._setting.token))
        done: tuple[tuple[Script, str, int, int], ...] = (
            ("answer", "an answer", 200, 1),
            ("refuse", "an error", 401, 2),
            ("retry", "a retry", 200, 2),
        )
        for script, who, status, asked in done:
            yield self.asking(
                "provider's keys from $.providers", "openai-chat", mount=f"/{KEYED}",
                who=who, script=script, status=401 if script == "refuse" else 500,
                expected=Expected(status=(status, status), asked=asked),
            )  # fmt: skip

        for script, who, status, asked in done[:2]:
            yield self.asking(
                "AWS's credentials, signing", "bedrock-converse", mount=f"/{SIGNED}", who=who, script=script,
                status=status, shown=self._cookie,
                expected=Expected(status=(status, status), asked=None if script == "refuse" else asked),
            )  # fmt: skip
        for script, who, status, _ in done[:2]:
            yield self.asking(
                "provider's keys from $.api_keys", "openai-chat", model=NAMED, who=who, script=script, status=status,
                expected=Expected(status=(status, status), asked=1),
            )  # fmt: skip

    def _less(self) -> Iterator[Path]:
        """Give requests that ask for less to be kept than the configuration gives."""
        done: tuple[tuple[Script, int], ...] = (("answer", 200), ("refuse", 401))
        for less in ("metadata", "off", "otlp=metadata", "store=metadata", "store=truncated, otlp=off"):
            for script, status in done:
                yield self.asking(
                    "a request that asks for less", "openai-chat", mount=f"/{DIALECTS['openai-chat']}",
                    who=f"{less}, {'an answer' if status == 200 else 'an error'}", script=script, status=status,
                    less=less, stream=less == "off", expected=Expected(status=(status, status)),
                )  # fmt: skip

        for name in DIALECTS:
            yield self.asking(
                "content that is cut, within a key", name, mount=f"/{DIALECTS[name]}", less="truncated", times=MANY,
                expected=Expected(),
            )  # fmt: skip

    def _cookie(self, path: str) -> Header:
        """Show no key, so that one of ours is sent."""
        return "Cookie", f"session={self.cage.secret('a cookie', path)}"

    def _configured(self) -> Iterator[Path]:
        """Give an answer and an error of each provider and each alias of the configuration."""
        some = Expected(status=None, asked=None)
        done: tuple[tuple[Script, str], ...] = (("answer", "an answer"), ("refuse", "an error"))
        for script, what in done:
            for name, dialect in self._setting.driven:
                yield self.asking(
                    f"your providers, {what}", dialect, mount=f"/{name}", who=name, script=script, status=401,
                    shown=self._cookie, expected=some,
                )  # fmt: skip
            for name in self._setting.aliases:
                yield self.asking(
                    f"your aliases, {what}", "openai-chat", model=name, who=name, script=script, status=401,
                    shown=self._cookie, expected=some,
                )  # fmt: skip
