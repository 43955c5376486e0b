"""Google's paths: the model in them, and the versions and projects that stand before it. Pure.

`/v1beta/models/MODEL:ACTION` is the Gemini API's form; Vertex has the same below a project, or below a publisher.
"""

import re
from urllib.parse import quote

from gateway.dialects.endpoint import PathPrefix, bare

VERSION = re.compile(
    r"^(/+(?:upload|download)(?=/))?(?:/+v1(?:(?:alpha|beta)\d*)?(?=/))*/+(v1(?:alpha|beta)\d*)(?=/|$)"
)
"""Clients choose among versions; with a version in their base URL as well, the last one is theirs."""

OPERATIONS = re.compile(r"^/+(models|tunedModels|projects|publishers)/")

RESOURCES = re.compile(
    r"^/+(models|tunedModels|projects|publishers|files|cachedContents|corpora|fileSearchStores|ragStores|operations"
    r"|batches|auth_tokens|interactions|agents|generatedFiles|dynamic|media|openai)(?=[/:]|$)"
)
"""The resources of both APIs, below their version."""

ACTIONS = re.compile(r"\w*([gG]enerateContent|[cC]ountTokens|[cC]omputeTokens|[eE]mbedContents?|[pP]redict\w*)")
"""The actions on a model. In OpenAI's and Ollama's paths a colon is part of a model's name."""

_IN_PROJECT = re.compile(r"^(?:/+v1(?:(?:alpha|beta)\d*)?(?=/))*/+(?:projects|publishers)/")
_PROJECT = re.compile(r"/v1[^/]*/projects/.*$")
_VERSION_END = re.compile(r"/v\d[^/]*$")

PREFIXES = (
    # The Gemini API's place for OpenAI's clients.
    PathPrefix(pattern=re.compile(r"^(?:/+v1)?/+v1(?:alpha|beta)/openai(?=/)"), provider="gemini", stripped=True),
    # A path in a project of Vertex, or of a publisher there, is whole.
    PathPrefix(pattern=_IN_PROJECT, provider="vertex", stripped=False),
)


def in_project(path: str) -> bool:
    """Whether a path is in a project of Vertex, or names a publisher there."""
    return _IN_PROJECT.match(path) is not None


def join(base: str, path: str) -> str:
    """Join a base path and a request's path; the version is the client's if the base has one to replace.

    >>> join("/v1beta", "/v1alpha/models/m:generateContent")
    '/v1alpha/models/m:generateContent'
    >>> join("/v1/projects/p/locations/l/publishers/google", "/v1beta1/projects/q/locations/l/endpoints/1:predict")
    '/v1beta1/projects/q/locations/l/endpoints/1:predict'
    >>> join("/v1/projects/p/locations/l/publishers/google", "/projects/q/locations/l/publishers/anthropic/models/c:x")
    '/v1/projects/q/locations/l/publishers/anthropic/models/c:x'
    """
    if in_project(path) and (project := _PROJECT.search(base)) is not None:
        own = "" if path.lstrip("/").startswith("v1") else project[0].partition("/projects/")[0]
        return f"{base[: project.start()]}{own}{path}"
    version = VERSION.match(path)
    rest = bare(path) if version is None else path[version.end() :]
    named = version[2] if version is not None else "v1" if rest != path else None
    if named is None or _VERSION_END.search(base) is None:
        return base + rest
    before = (version[1] or "") if version is not None else ""
    return f"{_VERSION_END.sub('', base)}{before}/{named}{rest}"


def with_model(path: str, model: str) -> str:
    """Return a path with another model; a project is the provider's own, and is removed.

    >>> with_model("/v1beta/models/gemini/g:countTokens", "g")
    '/v1beta/models/g:countTokens'
    """
    version = None if in_project(path) else VERSION.match(path)
    before = path[: version.end()] if version is not None else path[: len(path) - len(bare(path))]
    name = quote(model, safe="" if ".." in model else "/:@")
    resource = name if name.startswith(("tunedModels/", "models/")) else f"models/{name}"
    return f"{before if not in_project(path) else ''}/{resource}:{path.rpartition(':')[2]}"
