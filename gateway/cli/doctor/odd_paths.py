"""The other paths: what is only passed on, what is refused, options, the seed's routes, events, our own pages. Pure."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from gateway.cli.doctor.paths import MANY, Expected, Header, Path, Paths, Script
from gateway.cli.doctor.settings import DIALECTS, Setting, basic

_CHAT = DIALECTS["openai-chat"]
_MODEL = f"{_CHAT}/m"
_RUN = "0190a1b2-c3d4-7e5f-8a6b-%012d"


class _Sent(Struct, frozen=True, kw_only=True):
    """One request, but for what all have. `body`: bytes as they are, anything else as JSON."""

    target: str
    method: str = "POST"
    headers: tuple[Header, ...] = ()
    body: Any = b""
    token: bool = True


class OddPaths:
    """Makes them, numbered after those of `paths`. `elsewhere`: a URL of the provider, for who says one."""

    def __init__(self, paths: Paths, setting: Setting, *, elsewhere: str) -> None:
        self._paths = paths
        self._cage = paths.cage
        self._setting = setting
        self._elsewhere = elsewhere

    def all(self) -> list[Path]:
        """Return them, in the order of the table."""
        return [*self._passed(), *self._refused(), *self._options(), *self._seeds(), *self._told(), *self._pages()]

    def _path(
        self,
        row: str,
        who: str,
        made: Callable[[str], _Sent],
        expected: Expected,
        *,
        script: Script = "answer",
        status: int = 500,
        stream: bool = False,
    ) -> Path:
        path = self._paths.next_id()
        sent = made(path)
        body = sent.body if isinstance(sent.body, bytes) else json.dumps(sent.body).encode()
        content, text = self._cage.content, self._paths.text
        return Path(
            id=path,
            row=row,
            who=who,
            data=self._paths.request(path, sent.method, sent.target, list(sent.headers), body, token=sent.token),
            expected=expected,
            script=script,
            status=status,
            stream=stream,
            says=(
                f"{content('a completion', path)} {text}",
                f"{content('arguments of a tool call in an answer', path)} {text}",
                f"{content('the body of an error', path)} {text}",
            ),
            marker=self._paths.marker(path),
            capture=self._setting.capture,
        )

    def _bearer(self, path: str) -> tuple[Header, ...]:
        return (("Authorization", f"Bearer {self._key(path)}"),)

    def _key(self, path: str) -> str:
        return self._cage.secret("a client's key (Authorization: Bearer)", path)

    def _query(self, path: str, target: str) -> str:
        return f"{target}?key={self._cage.secret('a key in the query (?key=)', path)}"

    def _chat(self, path: str, model: str = _MODEL, **more: Any) -> dict[str, Any]:
        said = f"{self._cage.content('a prompt', path)} {self._paths.text}"
        return {"model": model, "messages": [{"role": "user", "content": said}], **more}

    def _passed(self) -> Iterator[Path]:
        def getting(path: str, target: str) -> _Sent:
            return _Sent(method="GET", target=self._query(path, target), headers=self._bearer(path))

        def posting(path: str) -> _Sent:
            body = {"input": self._cage.content("the body of a request that is not read", path)}
            return _Sent(target=self._query(path, f"/{_CHAT}/v1/some/thing"), headers=self._bearer(path), body=body)

        yield self._path("passed on unread", "GET", partial(getting, target=f"/{_CHAT}/v1/files/f"), Expected())
        yield self._path("passed on unread", "POST", posting, Expected())
        failed = Expected(status=(404, 404))
        for dialect, name in DIALECTS.items():
            yield self._path(
                "passed on unread, an error 404", dialect, partial(getting, target=f"/{name}/v1/x/y"), failed,
                script="refuse", status=404,
            )  # fmt: skip

    def _refused(self) -> Iterator[Path]:
        ours = Expected(status=(400, 499), asked=0)
        unheard = Expected(status=(400, 499), asked=0, exchange=False)

        def unread(path: str) -> _Sent:
            body = b'{"model": "m", "messages": [{"content": "' + self._cage.content("a body", path).encode()
            return _Sent(
                target=self._query(path, f"/{_CHAT}/v1/chat/completions"), headers=self._bearer(path), body=body
            )

        def nope(path: str) -> _Sent:
            return _Sent(method="GET", target=self._query(path, "/nope/v9"), headers=self._bearer(path))

        def broken(path: str, name: str) -> _Sent:
            return _Sent(method="GET", target="/v1/models", headers=((name, f"{self._key(path)}\x01"),))

        def whole(path: str) -> _Sent:
            password = quote(self._cage.secret("a password in the URL of a request", path), safe="")
            return _Sent(method="GET", target=f"http://doctor:{password}@nobody/nope/v9", headers=self._bearer(path))

        def socket(path: str) -> _Sent:
            asking = (("Upgrade", "websocket"), *self._bearer(path))
            return _Sent(method="GET", target=self._query(path, f"/{_CHAT}/v1/responses"), headers=asking)

        def stranger(path: str) -> _Sent:
            wrong = self._cage.secret("a token that is wrong (x-gateway-token)", path, "gw-")
            headers = (("x-gateway-token", wrong), *self._bearer(path))
            return _Sent(target="/v1/chat/completions", headers=headers, body=self._chat(path), token=False)

        yield self._path("a body that is no JSON", "", unread, Expected(status=(400, 400)), script="refuse", status=400)
        yield self._path("a path that nobody has", "", nope, ours)
        yield self._path("a URL with a password", "", whole, Expected(status=(400, 404), asked=0))
        yield self._path("a WebSocket", "", socket, ours)
        if self._setting.required:
            yield self._path("a wrong token", "a request", stranger, ours)
        for name in ("Authorization", "Cookie"):
            yield self._path("no HTTP", name, partial(broken, name=name), unheard)

    def _options(self) -> Iterator[Path]:
        """Give options that have a key or a URL in them, and some that are wrong; all may be refused or not."""
        cage, allowed = self._cage, self._setting
        wrong = Expected(status=(400, 499), asked=0)

        def saying(name: str, value: Callable[[str], str]) -> Callable[[str], _Sent]:
            def made(path: str) -> _Sent:
                headers = ((name, value(path)), *self._bearer(path))
                return _Sent(target="/v1/chat/completions", headers=headers, body=self._chat(path))

            return made

        def listed(path: str, **more: object) -> str:
            key = cage.secret("a key among the models of a request", path)
            return json.dumps([{"model": "m", "provider": _CHAT, "api_key": key, **more}])

        def query(path: str) -> str:
            return f"{self._elsewhere}/v1/chat/completions?key={cage.secret('a key in the URL of a request', path)}"

        def own(path: str) -> str:
            return cage.secret("a key that a request brings as an option", path)

        def user(path: str) -> str:
            password = cage.secret("a password in the URL of a request", path)
            return self._elsewhere.replace("://", f"://doctor:{password}@")

        done: tuple[tuple[Script, int], ...] = (("answer", 200), ("refuse", 401))
        for name, value, may in (
            ("x-gateway-provider-api-key", own, allowed.api_keys),
            ("x-chronicle-provider-api-key", own, allowed.api_keys),
            ("x-gateway-models", listed, allowed.api_keys),
            ("x-gateway-override-url", query, allowed.override_url),
        ):
            for script, status in done:
                yield self._path(
                    "options with a key", f"{name}, {'an error' if script == 'refuse' else 'an answer'}",
                    saying(name, value), Expected(status=(status, status), asked=1) if may else wrong,
                    script=script, status=401,
                )  # fmt: skip
        for name, value in (
            ("x-gateway-override-url", user),
            ("x-gateway-models", lambda path: listed(path, api_key_name=1)),
            ("x-gateway-models", lambda path: listed(path)[:-1]),
            ("x-gateway-retry", lambda path: json.dumps({"max_tries": own(path)})),
            ("x-gateway-timeout", own),
            ("x-gateway-provider", own),
            ("x-gateway-random-choice", own),
        ):
            yield self._path("options that are wrong", name, saying(name, value), wrong)

    def _seeds(self) -> Iterator[Path]:
        cage = self._cage

        def asking(path: str, **more: Any) -> _Sent:
            return _Sent(target="/chat", headers=self._bearer(path), body=self._chat(path, **more))

        def keyed(path: str) -> _Sent:
            return asking(path, api_key=cage.secret("a key in the body of a request (api_key)", path))

        def wrong(path: str) -> _Sent:
            return asking(path, api_key=[cage.secret("a key in the body of a request (api_key)", path)])

        refused = Expected(status=(401, 401))
        row = "the seed's /chat"
        yield self._path(row, "an answer", asking, Expected())
        yield self._path(row, "a stream", lambda p: asking(p, stream=True), Expected(), stream=True)
        yield self._path(row, "an error", asking, refused, script="refuse", status=401)
        ours = Expected(status=(400, 499), asked=0)
        yield self._path(
            row, "a key in the body", keyed, refused if self._setting.api_keys else ours, script="refuse", status=401
        )
        yield self._path(row, "a key of a wrong type", wrong, ours)

    def _told(self) -> Iterator[Path]:
        """Give what applications tell of themselves, and what they tell wrongly."""
        content = self._cage.content
        text = self._paths.text

        def events(path: str, times: int = 1) -> _Sent:
            run, shown = _RUN % int(path[1:]), self._key(path)
            key = shown * times
            input_ = {"said": f"{content('what a run was given', path)} {text}", "key": key}
            output = f"{content('what a run gave', path)} {text} {key}"
            step = {"said": f"{content('what a step was given', path)} {text}"}
            told = [
                {"type": "run:start", "id": run, "name": self._paths.marker(path), "input": input_},
                {"type": "step:start", "run_id": run, "step_id": "s", "data": {"type": "tool", "input": step}},
                {"type": "step:error", "run_id": run, "step_id": "s", "data": {"error": {"message": output}}},
                {"type": "noted", "run_id": run, "step_id": "s", "data": {"said": output}},
                {"type": "run:update", "id": run, "status": "finished", "output": output},
            ]
            headers = [("Authorization", f"Bearer {shown}")]
            if times > 1:
                headers.append(("x-gateway-capture", "truncated"))
            return _Sent(target=self._query(path, "/events"), headers=tuple(headers), body={"events": told})

        def wrong(path: str) -> _Sent:
            told = {"type": ["run:start", self._key(path)], "id": content("what a run was given", path)}
            return _Sent(target=self._query(path, "/events"), headers=self._bearer(path), body={"events": [told]})

        def spans(path: str) -> _Sent:
            key = self._key(path)
            said = json.dumps([{"role": "user", "content": f"{content('a message in a span', path)} {text}"}])
            attributes = {
                "gen_ai.input.messages": said,
                "http.request.header.authorization": f"Bearer {key}",
                "note": f"it was sent with {key}",
                "session.id": self._paths.marker(path),
            }
            span = {
                "traceId": f"{int(path[1:]):032x}", "spanId": f"{int(path[1:]):016x}", "name": "told", "kind": 3,
                "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000",
                "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()],
            }  # fmt: skip
            body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
            return _Sent(
                target=self._query(path, "/v1/traces"), headers=(("Authorization", f"Bearer {key}"),), body=body
            )

        told, refused = Expected(asked=0, exchange=False), Expected(status=(400, 499), asked=0, exchange=False)
        taken = Expected(status=(202, 202), asked=0, exchange=False)
        yield self._path("events of runs", "", events, taken)
        yield self._path("content that is cut, within a key", "events", partial(events, times=MANY), taken)
        yield self._path("events that are wrong", "", wrong, refused)
        yield self._path("an application's spans", "", spans, told)

    def _pages(self) -> Iterator[Path]:
        """Give our own pages, asked with a token that is wrong."""
        expected = Expected(status=(400, 499) if self._setting.required else None, asked=0, exchange=False)

        def asking(path: str, target: str) -> _Sent:
            wrong = self._cage.secret("a token that is wrong (Authorization)", path, "gw-")
            headers = (("Authorization", f"Bearer {wrong}"),)
            return _Sent(method="GET", target=self._query(path, target), headers=headers, token=False)

        def by_password(path: str) -> _Sent:
            wrong = basic(self._cage.secret("a password that is wrong", path))
            return _Sent(method="GET", target="/-/config", headers=(("Authorization", wrong),), token=False)

        for target in ("/-/config", "/-/metrics", "/-/nope"):
            yield self._path("our pages, with a wrong token", target, partial(asking, target=target), expected)
        yield self._path("our pages, with a wrong token", "basic", by_password, expected)
