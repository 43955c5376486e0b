"""Azure's deployments in a path."""

import pytest

from gateway.dialects.azure_openai.deployments import deployment, elsewhere, read_path, with_model
from gateway.dialects.registry import DIALECTS


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/openai/deployments/d/chat/completions", ("d", "chat/completions")),
        ("/openai/deployments/local/big/chat/completions", ("local/big", "chat/completions")),
        ("/openai/deployments/demo/chat/chat/completions", ("demo/chat", "chat/completions")),
        ("/openai/deployments/d/completions", ("d", "completions")),
        ("/openai/deployments/a/b/images/generations", ("a/b", "images/generations")),
        ("/openai/deployments/d/extensions/chat/x", ("d", "extensions/chat/x")),
        ("/openai/deployments/d", ("d", "")),
        ("//openai/deployments/d/embeddings/", ("d", "embeddings")),
        ("/openai/deployments/", None),
        ("/openai/v1/chat/completions", None),
        ("/x/openai/deployments/d/embeddings", None),
    ],
)
def test_a_deployment_may_have_slashes(path: str, expected: tuple[str, str] | None) -> None:
    """All up to the operation is its name."""
    assert deployment(path) == expected


@pytest.mark.parametrize(
    ("tail", "dialect"),
    [
        ("chat/completions", "openai-chat"),
        ("completions", "openai-completions"),
        ("embeddings", "openai-embeddings"),
        ("responses", "openai-responses"),
        ("images/generations", "openai-images"),
        ("extensions/chat/x", None),
    ],
)
def test_an_operation_on_a_deployment_is_openais(tail: str, dialect: str | None) -> None:
    """Its model is the deployment, with its escapes undone; other methods and operations are only relayed."""
    path = f"/openai/deployments/a%20b/{tail}"
    operation = read_path("POST", path)
    assert operation is not None
    assert (operation.endpoint, operation.model, operation.stream) == ("azure-openai", "a b", False)
    assert operation.dialect is (DIALECTS[dialect] if dialect else None)
    listed = read_path("GET", path)
    assert listed is not None
    assert listed.dialect is None
    assert read_path("POST", f"/v1/{tail}") is None


@pytest.mark.parametrize("model", ["d", "a/b", "a b%"])
def test_another_deployment_is_that_deployment(model: str) -> None:
    """The name is one segment, whatever is in it."""
    path = with_model("/openai/deployments/azure/x/embeddings", model)
    operation = read_path("POST", path)
    assert operation is not None
    assert operation.model == model
    assert elsewhere(path) == "/embeddings"
    assert with_model("/v1/embeddings", model) == elsewhere("/v1/embeddings") == "/v1/embeddings"
