"""Google's paths: versions, projects, and another model in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.gemini import paths
from gateway.dialects.registry import in_path

PROJECT = "/v1/projects/p/locations/l/publishers/google"


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("/v1beta", "/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("/v1beta", "/v1alpha/models/m:generateContent", "/v1alpha/models/m:generateContent"),
        ("/v1beta", "/v1/models/m:generateContent", "/v1/models/m:generateContent"),
        ("/v1beta", "/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("/v1beta", "/v1beta/v1beta/models/m:x", "/v1beta/models/m:x"),
        ("/v1beta", "/v1/v1beta/models/m:x", "/v1beta/models/m:x"),
        ("/v1beta", "/v1beta/v1alpha/models/m:x", "/v1alpha/models/m:x"),
        ("/proxy/v1beta", "/v1alpha/models", "/proxy/v1alpha/models"),
        ("/v1beta", "/upload/v1beta/files", "/upload/v1beta/files"),
        ("/proxy/v1beta", "/upload/v1beta/files", "/proxy/upload/v1beta/files"),
        (PROJECT, "/v1beta/models/m:x", f"{PROJECT}/models/m:x"),
        (PROJECT, *("/v1beta1/projects/q/locations/k/endpoints/1:predict",) * 2),
        (PROJECT, *("/v1beta1/publishers/google/models/m:x",) * 2),
        (f"/proxy{PROJECT}", "/v1/projects/q/x", "/proxy/v1/projects/q/x"),
    ],
)
def test_googles_clients_choose_the_version(base: str, path: str, expected: str) -> None:
    """The last version of several is theirs; in a project's place, and in a whole project's path, it stays."""
    assert paths.join(base, path) == expected


NAMES = st.text("abz.:/@-_+ ü%", min_size=1, max_size=12).filter(lambda name: all(name.split("/")) and ".." not in name)


@given(
    NAMES.filter(lambda name: not name.startswith(("models", "tunedModels"))),
    st.sampled_from(["/v1beta", "/v1alpha", "", "/v1"]),
)
def test_another_model_in_googles_path_is_that_model(name: str, version: str) -> None:
    """A written path is read as the same name, with the client's version and action."""
    path = paths.with_model(f"{version}/models/gemini/x:countTokens", name)
    assert path.startswith(f"{version}/models/")
    path_read = in_path("POST", path)
    assert path_read is not None
    assert (path_read.model, path.rpartition(":")[2]) == (name, "countTokens")


@pytest.mark.parametrize(
    ("path", "model", "expected"),
    [
        ("/v1beta1/projects/p/locations/l/publishers/vertex/models/g:x", "g", "/models/g:x"),
        ("/v1beta/models/gemini/tunedModels/mine:x", "tunedModels/mine", "/v1beta/tunedModels/mine:x"),
        ("/v1beta/models/gemini/..:x", "../files", "/v1beta/models/..%2Ffiles:x"),
    ],
)
def test_other_places_of_a_model(path: str, model: str, expected: str) -> None:
    """A project is the provider's own, a tuned model has its place, and a name that leads elsewhere is only a name."""
    assert paths.with_model(path, model) == expected
