"""Errors as clients of each endpoint read them."""

import json


def error_in(endpoint: str, body: bytes) -> dict[str, object]:
    """Return the error that a client of an endpoint finds, having checked the shape of the whole body."""
    whole = json.loads(body)
    match endpoint:
        case "openai-chat" | "openai-responses" | "azure-openai":
            assert set(whole) == {"error"}
            assert set(whole["error"]) == {"message", "type", "param", "code"}
            error = whole["error"]
        case "anthropic-messages" | "anthropic-vertex":
            assert (set(whole), whole["type"]) == ({"type", "error", "request_id"}, "error")
            error = whole["error"]
        case "gemini":
            assert set(whole) == {"error"}
            assert {"code", "message", "status"} <= set(whole["error"])
            assert isinstance(whole["error"]["code"], int)
            error = whole["error"]
        case "ollama":
            assert set(whole) == {"error"}
            assert isinstance(whole["error"], str)
            error = {"message": whole["error"]}
        case "cohere":
            assert set(whole) == {"id", "message"}
            error = whole
        case "chronicle":
            assert set(whole) == {"error"}
            assert set(whole["error"]) == {"kind", "message", "details"}
            assert whole["error"]["details"] == {"body": whole["error"]["message"], "details": None}
            error = whole["error"]
        case _:
            assert set(whole) == {"__type", "message"}
            error = whole
    assert isinstance(error["message"], str)
    return error
