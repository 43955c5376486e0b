"""Check of the gateway's own errors in the shape of each dialect family."""

import json
from typing import Any

from tests.support.raw_http import Answer


def gateway_error(answer: Answer, family: str, *, traced: bool = True) -> dict[str, Any]:
    """Require that an answer is an error of ours in a family's dialect; return what is below `error`.

    `traced`: whether it is an exchange's, and has the trace's id.
    """
    assert answer.whole
    assert answer.values(b"content-type")[0].startswith(b"application/json")
    ids = answer.values(b"x-gateway-trace-id")
    assert len(ids) == traced
    trace = ids[0] if traced else b""
    whole = json.loads(answer.body)
    error = whole["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    if family == "anthropic":
        assert whole == {"type": "error", "error": error, "request_id": trace.decode()}
        assert set(error) == {"type", "message"}
    else:
        assert whole == {"error": error}
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["code"], str)
        assert error["param"] is None
    assert isinstance(error["type"], str)
    return error
