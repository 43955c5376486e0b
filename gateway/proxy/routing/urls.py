"""Where on a provider a request is sent: a client's path joined to the provider's base path. Pure.

Clients write a base URL with, without or with a doubled version, and some with the provider's whole own path: in the
end each part stands there once. All escapes stay as they came.
"""

import re
from urllib.parse import quote, unquote_plus

_V1 = re.compile(r"^(?:/+v1(?=/|$))+")
# Google's clients choose among versions; with a version in their base URL as well, the last one is theirs.
_GOOGLE = re.compile(
    r"^(/+(?:upload|download)(?=/))?(?:/+v1(?:(?:alpha|beta)\d*)?(?=/))*/+(v1(?:alpha|beta)\d*)(?=/|$)"
)
_VERSION = re.compile(r"/v\d")
_VERSION_END = re.compile(r"/v\d[^/]*$")
_IN_PROJECT = re.compile(r"^(?:/+v1(?:(?:alpha|beta)\d*)?(?=/))*/+(?:projects|publishers)/")
_PROJECT = re.compile(r"/v1[^/]*/projects/.*$")
_KEYS = frozenset({"key", "access_token"})
_DEPLOYMENT = re.compile(
    r"^/+openai/deployments/(.+?)/(chat/completions|completions|embeddings|responses|images/\w+|audio/\w+)/?$"
)


def bare(path: str) -> str:
    """Return a path without the `/v1` it begins with, however often.

    >>> bare("/v1/v1/models")
    '/models'
    """
    return _V1.sub("", path)


def googles(path: str) -> bool:
    """Whether a path begins with a version as only Google has it."""
    return _GOOGLE.match(path) is not None


def in_project(path: str) -> bool:
    """Whether a path is in a project of Vertex, or names a publisher there: it is whole."""
    return _IN_PROJECT.match(path) is not None


def versioned(base: str) -> bool:
    """Whether a base path says a version."""
    return _VERSION.search(base) is not None


def deployment(path: str) -> tuple[str, str] | None:
    """Return the deployment that a path of Azure's names, and the operation below it; None for another path.

    >>> deployment("/openai/deployments/local/big/chat/completions")
    ('local/big', 'chat/completions')
    >>> deployment("/openai/deployments/mine/extensions")
    ('mine', 'extensions')
    """
    if (known := _DEPLOYMENT.match(path)) is not None:
        return known[1], known[2]
    head, mark, tail = path.lstrip("/").partition("openai/deployments/")
    if head or not mark:
        return None
    name, _, operation = tail.partition("/")
    return (name, operation) if name else None


def join(base: str, path: str) -> str:
    """Join the base path below which a dialect is spoken and a request's path.

    >>> join("/v1", "/v1/v1/models")
    '/v1/models'
    >>> join("/openai/v1", "/models")
    '/openai/v1/models'
    >>> join("/openai/v1", "/openai/v1/models")
    '/openai/v1/models'
    """
    rest = bare(path)
    said = path if rest == path else f"/v1{rest}"
    if _VERSION.search(base) and f"{said}/".startswith(f"{base}/"):  # the provider's own whole path
        return said
    return base + rest


def loose(base: str, path: str) -> str:
    """Join a base path that says no version: the request's own path says whether there is one.

    >>> loose("/x", "/v1/v1/models"), loose("", "/models")
    ('/x/v1/models', '/models')
    """
    rest = bare(path)
    return base + (rest if rest == path or _VERSION_END.search(base) else f"/v1{rest}")


def google(base: str, path: str) -> str:
    """Join Google's paths, whose version is the client's where the base has one to change.

    >>> google("/v1beta", "/v1alpha/models/m:generateContent")
    '/v1alpha/models/m:generateContent'
    >>> google("/v1/projects/p/locations/l/publishers/google", "/v1beta1/projects/q/locations/l/endpoints/1:predict")
    '/v1beta1/projects/q/locations/l/endpoints/1:predict'
    """
    if in_project(path) and (project := _PROJECT.search(base)) is not None:
        return base[: project.start()] + path
    version = _GOOGLE.match(path)
    rest = bare(path) if version is None else path[version.end() :]
    said = version[2] if version is not None else "v1" if rest != path else None
    if said is None or _VERSION_END.search(base) is None:
        return base + rest
    before = (version[1] or "") if version is not None else ""
    return f"{_VERSION_END.sub('', base)}{before}/{said}{rest}"


def azure(base: str, path: str) -> str:
    """Join a path of Azure's, which says all that is below the resource's host."""
    return base.removesuffix("/openai/v1") + path


def with_model(path: str, spoken: str, model: str) -> str:
    """Return a path that names another model, as Gemini, Bedrock and Azure have it.

    >>> with_model("/v1beta/models/gemini/g:countTokens", "gemini", "g")
    '/v1beta/models/g:countTokens'
    >>> with_model("/model/bedrock%2Fa.b:0/converse", "bedrock-converse", "a.b:0")
    '/model/a.b%3A0/converse'
    """
    if spoken == "gemini":
        version = None if in_project(path) else _GOOGLE.match(path)
        before = path[: version.end()] if version is not None else path[: len(path) - len(bare(path))]
        name = quote(model, safe="" if ".." in model else "/:@")
        resource = name if name.startswith(("tunedModels/", "models/")) else f"models/{name}"
        return f"{before if not in_project(path) else ''}/{resource}:{path.rpartition(':')[2]}"
    if spoken == "bedrock-converse":
        return f"/model/{quote(model, safe='')}/{path.rstrip('/').rpartition('/')[2]}"
    called = deployment(path)
    return f"/openai/deployments/{quote(model, safe='')}/{called[1]}" if called is not None else path


def keys_in(query: str) -> list[str]:
    """Return the keys in a query as Google takes them there.

    >>> keys_in("?alt=sse&key=a%2Bb")
    ['a+b']
    """
    pairs = [pair.partition("=") for pair in query.removeprefix("?").split("&")]
    return [unquote_plus(value) for name, _, value in pairs if name in _KEYS and value]


def without_keys(query: str) -> str:
    """Return a query without them, the rest of it as it came.

    >>> without_keys("?key=a&alt=sse"), without_keys("?key=a"), without_keys("?")
    ('?alt=sse', '', '?')
    """
    pairs = query.removeprefix("?").split("&")
    kept = [pair for pair in pairs if pair.partition("=")[0] not in _KEYS]
    return query if len(kept) == len(pairs) else "?" * bool(kept) + "&".join(kept)
