"""What an exception says, as JSON. Pure: no source file is read for it, as a traceback's lines would be."""

from traceback import walk_tb

from gateway.client.values import text

# Characters of one message, frames of one exception (its innermost), exceptions of one chain.
_MESSAGE, _FRAMES, _CHAIN = 4096, 50, 5


def told(error: BaseException) -> dict[str, str]:
    """Return an exception's type, message and stack, with what has caused it."""
    stack: list[str] = []
    each: BaseException | None = error
    for _ in range(_CHAIN):
        if each is None:
            break
        frames = [
            f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_qualname}'
            for frame, line in walk_tb(each.__traceback__)
        ]
        stack += [*frames[-_FRAMES:], f"{_type(each)}: {_message(each)}"]
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
        if each is not None:
            stack.append("after:")
    return {"type": _type(error), "message": _message(error), "stack": text("\n".join(stack))}


def _type(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        said = str(error)
    except Exception:
        return ""
    return text(said if len(said) <= _MESSAGE else said[:_MESSAGE] + "…")
