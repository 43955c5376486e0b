"""Cross-origin requests of web pages (CORS): the pages that `$.auth.origins` names may read the gateway's responses.

A browser asks before it sends most requests of another site's page (a preflight), and gives the page a response only if
that names its origin. Both are the gateway's to answer: a provider never sees a preflight, and its own CORS headers are
for its own pages. An origin that is not named gets none. Source: WHATWG, "Fetch", section 3.2, "CORS protocol".
"""

import re
from collections.abc import Collection

from aiohttp import web

from gateway.proxy.auth import is_named
from gateway.server.admin.responses import problem

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_MAX_AGE = "7200"
_TOKENS = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, -]+")
# Headers of responses that a page may read without leave, and those that no page may read.
_SAFELISTED = frozenset({"cache-control", "content-language", "content-length", "content-type", "expires", "pragma"})
_HIDDEN = frozenset({"set-cookie", "connection", "date", "server", "vary", "transfer-encoding"})
# Named even in responses that lack them: a preflight and an error show the same list as a stream.
_EXPOSED = (
    *("x-gateway-trace-id", "x-gateway-dropped", "x-gateway-usage", "x-gateway-unlisted", "traceresponse"),
    *("retry-after", "retry-after-ms", "x-should-retry", "request-id", "x-request-id"),
)


def is_preflight(request: web.BaseRequest) -> bool:
    """Whether a request is a browser's question, and none of the page's own."""
    headers = request.headers
    return request.method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers


def answer_preflight(request: web.BaseRequest, origins: Collection[str]) -> web.Response:
    """Answer a preflight; `decorate` adds the origin. Nothing is sent on, whatever the path."""
    headers = request.headers
    if not is_named(headers["Origin"], origins):
        return problem(403, f"a web page of {headers['Origin']!r} may not use this gateway (setting: $.auth.origins)")
    method, wanted = headers["Access-Control-Request-Method"], headers.get("Access-Control-Request-Headers", "")
    methods = _METHODS if method in _METHODS or not _TOKENS.fullmatch(method) else (*_METHODS, method)
    answer = {
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Max-Age": _MAX_AGE,
        "Vary": "Access-Control-Request-Method, Access-Control-Request-Headers",
    }
    if _TOKENS.fullmatch(wanted):
        answer["Access-Control-Allow-Headers"] = wanted
    if headers.get("Access-Control-Request-Private-Network") == "true":
        answer["Access-Control-Allow-Private-Network"] = "true"
    return web.Response(status=204, headers=answer)


def decorate(request: web.BaseRequest, response: web.StreamResponse, origins: Collection[str]) -> None:
    """Add the CORS headers to a response before its head is written, and remove a provider's for another origin."""
    headers, origin = response.headers, request.headers.get("Origin")
    if origins:
        headers.add("Vary", "Origin")
    if origin is None:
        return
    named = is_named(origin, origins)
    own = named and is_preflight(request)
    for name in [each for each in headers if each.lower().startswith("access-control-")]:
        if not own:
            headers.popall(name, None)
    if not named:
        return
    headers["Access-Control-Allow-Origin"] = origin
    others = {each.lower() for each in headers} - _SAFELISTED - _HIDDEN
    exposed = [*_EXPOSED, *sorted(each for each in others if not each.startswith("access-control-"))]
    headers["Access-Control-Expose-Headers"] = ", ".join(dict.fromkeys(exposed))
