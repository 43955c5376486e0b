"""The list of requests: every way through the gateway that may leave something behind. Pure."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

from gateway.cli.doctor.configuration import DIALECTS, KEYED, NAMED, REFUSING, SIGNED, SLOW, TLS, basic
from gateway.cli.doctor.requests import SHORT, Builder, Credential, Expected, Header, Raw, Request, Script

REPEATS = 300
"""Copies of a key in a text that `[capture]` truncates, so that the cut is within one."""

_CHAT = DIALECTS["openai-chat"]
_MODEL = f"{_CHAT}/m"
_RUN = "0190a1b2-c3d4-7e5f-8a6b-%012d"
# Client dialect, upstream dialect.
_PAIRS = tuple(zip(DIALECTS, (*list(DIALECTS)[2:], *list(DIALECTS)[:2]), strict=True))
_ENDS: tuple[tuple[str, Script, int], ...] = (("answer", "answer", 200), ("error", "refuse", 401))
_REFUSED = Expected(status=(400, 499), attempts=0)
_STRAY = Expected(status=(400, 499), attempts=0, exchange=False)


def _expect(status: int, attempts: int | None = 1, **more: Any) -> Expected:
    return Expected(status=(status, status), attempts=attempts, **more)


class Cases:
    """All requests, in the order of the report. `upstream`: the provider's URL, for `x-gateway-override-url`."""

    def __init__(self, builder: Builder, *, upstream: str) -> None:
        self._builder = builder
        self._canaries = builder.canaries
        self._config = builder.config
        self._upstream = upstream

    def all(self) -> list[Request]:
        """Return them."""
        return [
            *self._relayed(), *self._translated(), *self._failures(), *self._keys(), *self._captures(), *self._users(),
            *self._unread(), *self._refused(), *self._audience(), *self._repeated(), *self._options(),
            *self._chronicle(), *self._ingested(), *self._pages(),
        ]  # fmt: skip

    # -- in a dialect

    def _relayed(self) -> Iterator[Request]:
        for dialect, mount in DIALECTS.items():
            chat = partial(self._builder.chat, dialect=dialect, mount=mount)
            yield chat("answer")
            yield chat("stream", stream=True)
            for status in (400, 401, 429, 500):
                row, attempts = (f"error {status}, retried", 2) if status in {429, 500} else (f"error {status}", 1)
                yield chat(row, script="refuse", status=status, expected=_expect(status, attempts))
            yield chat("retry, then an answer", script="retry", expected=Expected(attempts=2))
            broken, left = Expected(outcome="upstream_abort"), Expected(outcome="client_abort")
            yield chat("broken stream", script="broken", stream=True, expected=broken)
            yield chat("client disconnect", script="hang", stream=True, disconnects=True, expected=left)

    def _translated(self) -> Iterator[Request]:
        for dialect, upstream in _PAIRS:
            case = f"{SHORT[dialect]} to {SHORT[upstream]}"
            chat = partial(self._builder.chat, dialect=dialect, model=f"{DIALECTS[upstream]}/m", case=case)
            yield chat("translated answer")
            yield chat("translated stream", stream=True)
            yield chat("translated error", script="refuse", status=401, expected=_expect(401))
            broken = Expected(status=(200, 599))
            yield chat("translated broken stream", script="broken", stream=True, expected=broken)

    def _failures(self) -> Iterator[Request]:
        chat = partial(self._builder.chat, dialect="openai-chat")
        yield chat("connection refused", mount=REFUSING, expected=_expect(502, 0))
        yield chat("TLS failure", mount=TLS, expected=_expect(502, 0))
        yield chat("timeout", mount=SLOW, script="silent", expected=_expect(504))
        yield chat("malformed response", mount=_CHAT, script="garbage", expected=_expect(502, 2))
        yield chat("connection reset", mount=_CHAT, script="reset", expected=_expect(502, 2))

    def _keys(self) -> Iterator[Request]:
        """Yield a refused request for each place of a client's key, and requests with each kind of configured key."""
        secret, chat = self._canaries.secret, partial(self._builder.chat, dialect="openai-chat")

        def plain(name: str) -> Credential:
            return lambda id_: (name, secret(f"a client's key ({name})", id_))

        def password(name: str) -> Credential:
            return lambda id_: (name, basic(secret(f"a password ({name}: Basic)", id_)))

        shown: dict[str, Credential] = {
            name: plain(name)
            for name in (
                *("x-api-key", "api-key", "x-goog-api-key", "x-auth-token", "ocp-apim-subscription-key"),
                *("x-portkey-api-key", "Helicone-Auth", "cf-aig-authorization", "X-My-Secret"),
            )
        }
        shown |= {f"{name}: Basic": password(name) for name in ("Authorization", "Proxy-Authorization")}
        shown["x-gateway-token"] = lambda _: ("x-gateway-token", self._config.token)
        for case, credential in shown.items():
            yield chat(
                "client's keys, error 401", mount=_CHAT, case=case, script="refuse", status=401, credential=credential,
                expected=_expect(401),
            )  # fmt: skip
        row = "provider's keys from $.providers"
        yield chat(row, mount=KEYED, case="answer", expected=_expect(200))
        yield chat(row, mount=KEYED, case="error", script="refuse", status=401, expected=_expect(401, 2))
        yield chat(row, mount=KEYED, case="retry", script="retry", expected=_expect(200, 2))
        for case, script, status in _ENDS:
            yield self._builder.chat(
                "AWS credentials, signed", "bedrock-converse", mount=SIGNED, case=case, script=script, status=status,
                credential=self._cookie, expected=_expect(status, 1 if status == 200 else None),
            )  # fmt: skip
        for case, script, status in _ENDS:
            yield chat(
                "provider's keys from $.api_keys", model=NAMED, case=case, script=script, status=status,
                expected=_expect(status),
            )  # fmt: skip

    def _captures(self) -> Iterator[Request]:
        for capture in ("metadata", "off", "otlp=metadata", "store=metadata", "store=truncated, otlp=off"):
            for case, script, status in _ENDS:
                yield self._builder.chat(
                    "less capture requested", "openai-chat", mount=_CHAT, case=f"{capture}, {case}", script=script,
                    status=status, capture=capture, stream=capture == "off", expected=_expect(status),
                )  # fmt: skip
        for dialect, mount in DIALECTS.items():
            yield self._builder.chat(_CUT, dialect, mount=mount, capture="truncated", times=REPEATS)

    def _users(self) -> Iterator[Request]:
        """Yield an answer and an error of each provider and alias of the user's."""
        chat = partial(self._builder.chat, credential=self._cookie, expected=Expected(status=None, attempts=None))
        for end, script, _ in _ENDS:
            for name, dialect in self._config.providers:
                yield chat(f"your providers, {end}", dialect, mount=name, case=name, script=script, status=401)
            for name in self._config.aliases:
                yield chat(f"your aliases, {end}", "openai-chat", model=name, case=name, script=script, status=401)

    def _cookie(self, id_: str) -> Header:
        """Return no key, so that the configuration's is sent."""
        return "Cookie", f"session={self._canaries.secret('a cookie', id_)}"

    # -- any other

    def _bearer(self, id_: str) -> list[Header]:
        return [("Authorization", f"Bearer {self._canaries.secret('a key (Authorization: Bearer)', id_)}")]

    def _keyed(self, id_: str, target: str, method: str = "GET", **more: Any) -> Raw:
        """Return a request with one key in the query and one in a header."""
        query = f"?key={self._canaries.secret('a key in the query (?key=)', id_)}"
        return Raw(**{"target": target + query, "method": method, "headers": self._bearer(id_)} | more)

    def _body(self, id_: str, model: str = _MODEL, **more: Any) -> dict[str, Any]:
        prompt = f"{self._canaries.content('a prompt', id_)} {self._builder.text}"
        return {"model": model, "messages": [{"role": "user", "content": prompt}], **more}

    def _unread(self) -> Iterator[Request]:
        def post(id_: str) -> Raw:
            body = {"input": self._canaries.content("a body that is not read", id_)}
            return self._keyed(id_, f"/{_CHAT}/v1/some/thing", "POST", body=body)

        raw = self._builder.raw
        yield raw("relayed unread", "GET", partial(self._keyed, target=f"/{_CHAT}/v1/files/f"), Expected())
        yield raw("relayed unread", "POST", post, Expected())
        for dialect, mount in DIALECTS.items():
            get = partial(self._keyed, target=f"/{mount}/v1/x/y")
            yield raw("relayed unread, error 404", dialect, get, _expect(404), script="refuse", status=404)

    def _refused(self) -> Iterator[Request]:
        raw, secret = self._builder.raw, self._canaries.secret

        def not_json(id_: str) -> Raw:
            body = b'{"model": "m", "messages": [{"content": "' + self._canaries.content("a body", id_).encode()
            return self._keyed(id_, f"/{_CHAT}/v1/chat/completions", "POST", body=body)

        def unknown(id_: str) -> Raw:
            key = secret("a key of no known form (?key=)", id_, "own-")
            return Raw(method="GET", target=f"/nope/v9?key={key}", headers=[("x-api-key", key)])

        def absolute(id_: str) -> Raw:
            password = quote(secret("a password in the URL of a request", id_), safe="")
            return Raw(
                method="GET", target=f"http://doctor:{password}@invalid/{_CHAT}/v1/files/f", headers=self._bearer(id_)
            )

        def websocket(id_: str) -> Raw:
            headers = [("Upgrade", "websocket"), *self._bearer(id_)]
            return self._keyed(id_, f"/{_CHAT}/v1/responses", headers=headers)

        def wrong_token(id_: str) -> Raw:
            headers = [("x-gateway-token", secret("a wrong token (x-gateway-token)", id_, "gw-")), *self._bearer(id_)]
            return Raw(target="/v1/chat/completions", headers=headers, body=self._body(id_), token=False)

        def malformed(id_: str, name: str) -> Raw:
            value = secret("a key (Authorization: Bearer)", id_)
            return Raw(method="GET", target="/v1/models", headers=[(name, f"{value}\x01")])

        yield raw("body that is not JSON", "", not_json, _expect(400), script="refuse", status=400)
        yield raw("unknown path", "", unknown, _STRAY)
        yield raw("URL with a password", "", absolute, Expected())
        yield raw("WebSocket", "", websocket, _STRAY)
        if self._config.required:
            yield raw("wrong token", "a request", wrong_token, _REFUSED)
        unparsed = Expected(status=(400, 499), attempts=0, exchange=False, quoted=True)
        for name in ("Authorization", "Cookie"):
            yield raw("malformed request", name, partial(malformed, name=name), unparsed)

    def _audience(self) -> Iterator[Request]:
        """Yield keys of one maker on the way to other providers, paths that no API has, and other sites' requests."""
        raw, secret, row = self._builder.raw, self._canaries.secret, "a maker's key, another provider"

        def makers(id_: str) -> Header:
            return "Authorization", f"Bearer {secret('a key of a known form (sk-ant-)', id_, 'sk-ant-')}"

        for dialect, mount in DIALECTS.items():
            chat = partial(self._builder.chat, row, expected=Expected(withheld=True), credential=makers)
            yield chat("anthropic-messages", model=f"{mount}/m", case=f"by model, {SHORT[dialect]}")
            yield chat(dialect, mount=mount, case=f"by mount, {SHORT[dialect]}")

        def bare(id_: str, target: str) -> Raw:
            body = {"input": self._canaries.content("a body that is not read", id_)}
            return Raw(target=target, body=body)

        def telemetry(id_: str, target: str) -> Raw:
            return Raw(target=target, headers=[makers(id_)], body=b'{"resourceProfiles": []}')

        for target in ("/v1/newest", "/v1/x/chat/completions", "/v1beta/newest", "/api/newest", "/.env"):
            yield raw("nothing by guess", target, partial(bare, target=target), _STRAY)
        for target in ("/v1/profiles", "/v1development/profiles", f"/{_CHAT}/v1/logs"):
            yield raw("nothing by guess", target, partial(telemetry, target=target), _STRAY)

        def page(_: str, method: str, target: str, *headers: Header) -> Raw:
            return Raw(method=method, target=target, headers=headers, token=False)

        image = ("Sec-Fetch-Site", "cross-site")
        preflight = [("Origin", "https://doctor.invalid"), ("Access-Control-Request-Method", "POST")]
        yield raw("another site's page", "image", lambda i: page(i, "GET", f"/{KEYED}/v1/files/f", image), _REFUSED)
        yield raw("another site's page", "own pages", lambda i: page(i, "GET", "/-/config", image), _STRAY)
        yield raw(
            "another site's page", "preflight", lambda i: page(i, "OPTIONS", f"/{KEYED}/v1/files", *preflight), _STRAY
        )

    def _repeated(self) -> Iterator[Request]:
        """Yield requests that repeat their key in every field that is recorded beside content."""

        def repeating(id_: str, target: str) -> Raw:
            headers = self._bearer(id_)
            key = headers[0][1].removeprefix("Bearer ")
            fields = ("application", "environment", "user", "workflow-name", "prompt-id", "step-id")
            headers += [*((f"x-gateway-{name}", key) for name in fields), ("User-Agent", f"{key}/1.0")]
            headers.append(("x-gateway-extra-meta", json.dumps({"key": key})))
            body = {**self._body(id_, f"ft:{key}"), "stop": [key], "user": key, "metadata": {"key": key}}
            return Raw(target=f"{target}?auth={quote(key, safe='')}", headers=headers, body=body)

        for case, script, status in _ENDS:
            yield self._builder.raw(
                "own key repeated", case, partial(repeating, target=f"/{_CHAT}/v1/chat/completions"),
                _expect(status), script=script, status=status,
            )  # fmt: skip

    def _options(self) -> Iterator[Request]:
        """Yield options with a key or a URL, which `[requests]` may refuse, and invalid options."""
        secret, upstream = self._canaries.secret, self._upstream

        def sent(name: str, value: Callable[[str], str]) -> Callable[[str], Raw]:
            return lambda id_: Raw(
                target="/v1/chat/completions", headers=[(name, value(id_)), *self._bearer(id_)], body=self._body(id_)
            )

        def models(id_: str, **more: object) -> str:
            key = secret("a key among the models of a request", id_)
            return json.dumps([{"model": "m", "provider": _CHAT, "api_key": key, **more}])

        def url(id_: str) -> str:
            return f"{upstream}/v1/chat/completions?key={secret('a key in the URL of a request', id_)}"

        def user(id_: str) -> str:
            return upstream.replace("://", f"://doctor:{secret('a password in the URL of a request', id_)}@")

        def key(id_: str) -> str:
            return secret("a key in an option of a request", id_)

        for name, value, allowed in (
            ("x-gateway-provider-api-key", key, self._config.api_keys),
            ("x-chronicle-provider-api-key", key, self._config.api_keys),
            ("x-gateway-models", models, self._config.api_keys),
            ("x-gateway-override-url", url, self._config.override_url),
        ):
            for case, script, status in _ENDS:
                expected = _expect(status) if allowed else _REFUSED
                yield self._builder.raw(
                    "options with a key", f"{name}, {case}", sent(name, value), expected, script=script, status=401
                )
        for name, value in (
            ("x-gateway-override-url", user),
            ("x-gateway-models", lambda id_: models(id_, api_key_name=1)),
            ("x-gateway-models", lambda id_: models(id_)[:-1]),
            ("x-gateway-retry", lambda id_: json.dumps({"max_tries": key(id_)})),
            ("x-gateway-timeout", key),
            ("x-gateway-provider", key),
            ("x-gateway-random-choice", key),
            ("x-gateway-retry", lambda id_: f'{{"{key(id_)}":' * 500 + "1" + "}" * 500),
            ("x-gateway-extra-meta", lambda id_: '{"a":' * 5000 + f'"{key(id_)}"' + "}" * 5000),
        ):
            yield self._builder.raw("invalid options", name, sent(name, value), _REFUSED)

    def _chronicle(self) -> Iterator[Request]:
        row, raw = "chronicle's /chat", self._builder.raw

        def chat(id_: str, **more: Any) -> Raw:
            return Raw(target="/chat", headers=self._bearer(id_), body=self._body(id_, **more))

        def key(id_: str) -> str:
            return self._canaries.secret("a key in the body of a request (api_key)", id_)

        yield raw(row, "an answer", chat, Expected())
        yield raw(row, "a stream", partial(chat, stream=True), Expected(), stream=True)
        yield raw(row, "an error", chat, _expect(401), script="refuse", status=401)
        keyed = _expect(401) if self._config.api_keys else _REFUSED
        yield raw(row, "a key in the body", lambda i: chat(i, api_key=key(i)), keyed, script="refuse", status=401)
        yield raw(row, "a key of a wrong type", lambda i: chat(i, api_key=[key(i)]), _REFUSED)

    def _ingested(self) -> Iterator[Request]:
        """Yield events, spans, log records and metrics of applications."""
        raw, content, text = self._builder.raw, self._canaries.content, self._builder.text

        def events(id_: str, times: int = 1) -> Raw:
            run, headers = _RUN % int(id_[1:]), self._bearer(id_)
            key = headers[0][1].removeprefix("Bearer ") * times
            output = " ".join((content("a run's output", id_), text, key))
            step = {"run_id": run, "step_id": "s"}
            sent: list[dict[str, Any]] = [
                {"type": "run:start", "id": run, "name": self._builder.marker(id_),
                 "input": {"text": " ".join((content("a run's input", id_), text)), "key": key}},
                {"type": "step:start", **step,
                 "data": {"type": "tool", "input": {"text": " ".join((content("a step's input", id_), text))}}},
                {"type": "step:error", **step, "data": {"error": {"message": output}}},
                {"type": "noted", **step, "data": {"text": output}},
                {"type": "run:update", "id": run, "status": "finished", "output": output},
            ]  # fmt: skip
            if times > 1:
                headers.append(("x-gateway-capture", "truncated"))
            return self._keyed(id_, "/events", "POST", headers=headers, body={"events": sent})

        def invalid(id_: str) -> Raw:
            key = self._canaries.secret("a key (Authorization: Bearer)", id_)
            event = {"type": ["run:start", key], "id": content("a run's input", id_)}
            return self._keyed(id_, "/events", "POST", body={"events": [event]})

        def spans(id_: str) -> Raw:
            headers = self._bearer(id_)
            messages = [{"role": "user", "content": f"{content('a message in a span', id_)} {text}"}]
            attributes = {
                "gen_ai.input.messages": json.dumps(messages),
                "http.request.header.authorization": headers[0][1],
                "note": f"it was sent with {headers[0][1].removeprefix('Bearer ')}",
                "session.id": self._builder.marker(id_),
            }
            span = {
                "traceId": f"{int(id_[1:]):032x}", "spanId": f"{int(id_[1:]):016x}", "name": "request", "kind": 3,
                "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000",
                "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()],
            }  # fmt: skip
            body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
            return self._keyed(id_, "/v1/traces", "POST", headers=headers, body=body)

        def telemetry(id_: str, signal: str) -> Raw:
            """Return log records, whose content `[capture]` decides about, or metrics, which have none."""
            headers = self._bearer(id_)
            words = f"{content('a log record', id_)} {text}" if signal == "logs" else text
            attributes = {"authorization": headers[0][1], "note": f"{headers[0][1].removeprefix('Bearer ')} {text}"}
            pairs = [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()]
            if signal == "logs":
                pairs.append({"key": "prompt", "value": {"stringValue": words}})
                item: dict[str, Any] = {"body": {"stringValue": words}, "attributes": pairs, "eventName": "asked"}
            else:
                point = {"asInt": "1", "timeUnixNano": "1700000000000000000", "attributes": pairs}
                item = {"name": "asked", "description": words, "sum": {"dataPoints": [point]}}
            scope = {"logRecords" if signal == "logs" else "metrics": [item]}
            kind = signal.title()
            body = {f"resource{kind}": [{f"scope{kind}": [scope]}]}
            return self._keyed(id_, f"/v1/{signal}", "POST", headers=headers, body=body)

        accepted = _expect(202, 0, exchange=False)
        yield raw("events of runs", "", events, accepted)
        yield raw(_CUT, "events", partial(events, times=REPEATS), accepted)
        yield raw("invalid events", "", invalid, Expected(status=(400, 499), attempts=0, exchange=False))
        yield raw("application telemetry", "spans", spans, Expected(attempts=0, exchange=False))
        for signal in ("logs", "metrics"):
            yield raw(
                "application telemetry", signal, partial(telemetry, signal=signal), Expected(attempts=0, exchange=False)
            )

    def _pages(self) -> Iterator[Request]:
        status = (400, 499) if self._config.required else None
        expected = Expected(status=status, attempts=0, exchange=False)
        secret, row = self._canaries.secret, "own pages, wrong token"

        def bearer(id_: str, target: str) -> Raw:
            wrong = secret("a wrong token (Authorization)", id_, "gw-")
            return self._keyed(id_, target, headers=[("Authorization", f"Bearer {wrong}")], token=False)

        def password(id_: str) -> Raw:
            headers = [("Authorization", basic(secret("a wrong password", id_)))]
            return Raw(method="GET", target="/-/config", headers=headers, token=False)

        for target in ("/-/config", "/-/metrics", "/-/nope"):
            yield self._builder.raw(row, target, partial(bearer, target=target), expected)
        yield self._builder.raw(row, "basic", password, expected)


_CUT = "content truncated within a key"
