"""Names of the content that a dialect cannot express, for the header `x-gateway-dropped` and the span."""

from gateway.dialects.conversation import Extra, Other, Part


class Dropped:
    """Collects names, each once: a short path into the conversation, and the kind of what was dropped."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __repr__(self) -> str:
        return f"<Dropped {', '.join(self.names)}>"

    def add(self, name: str) -> None:
        """Name something."""
        if name not in self.names:
            self.names.append(name)

    def add_part(self, part: Part, path: str) -> None:
        """Name a part by its path and its kind: `messages[0].parts[2]: image uri`."""
        self.add(f"{path}: {part_kind(part)}")

    def foreign(self, extra: Extra, own: str, path: str = "") -> None:
        """Name the fields of other dialects than `own` in an `extra`; `path` is that of its part.

        A value that `own` has too is not lost: some readers put one value under two dialects.
        """
        told = extra.get(own, {}).values()
        for dialect, fields in extra.items():
            if dialect == own:
                continue
            for name, value in fields.items():
                if value in told:
                    continue
                inner = [f"{name}.{key}" for key in value] if name in _GROUPS and isinstance(value, dict) else [name]
                for each in inner:
                    self.add(f"{path}.{each}" if path else each)


# Fields that hold settings of their own.
_GROUPS = frozenset({"text", "reasoning", "output_config"})


def part_kind(part: Part) -> str:
    """Return a part's kind in words: `text`, `image uri`, `tool call`.

    >>> from gateway.dialects.conversation import ToolCall
    >>> part_kind(ToolCall(name="look"))
    'tool call'
    """
    kind = part.kind if isinstance(part, Other) else str(part.__struct_config__.tag).replace("_", " ")
    return f"{getattr(part, 'modality', '')} {kind}".strip()
