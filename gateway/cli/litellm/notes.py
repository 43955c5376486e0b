"""What an import tells beside its result: what was not taken over, and which variables are to be set."""

import re
from typing import Any

from gateway.config.model import VARIABLE

_REFERENCE = "os.environ/"
_NO_CHARACTER = re.compile("[\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Notes:
    """Warnings in the order in which they came, each with its path; and variables with what they are to hold."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.variables: dict[str, str] = {}
        self._of_literals: dict[str, str] = {}

    def __repr__(self) -> str:
        """Name no literal: they are keys."""
        return f"<Notes {len(self.warnings)} warnings, variables: {', '.join(self.variables)}>"

    def warn(self, path: str, what: str) -> None:
        """Say once that something is not as it was."""
        line = f"{path}: {what}".encode("utf-8", "backslashreplace").decode()
        if line not in self.warnings:
            self.warnings.append(line)

    def needed(self, variable: str, what: str) -> None:
        """Say that a variable is to be set, and to what."""
        self.variables.setdefault(variable, what)

    def text(self, path: str, value: Any) -> str | None:
        """Return a setting's text as `gateway.toml` says it; None, and a warning, where that has none for it."""
        if not isinstance(value, str) or not value.strip():
            self.warn(path, "is no text, and is left out")
            return None
        if value.startswith(_REFERENCE):
            return self._reference(path, value)
        if VARIABLE.search(value):
            self.warn(path, "has ${env:...} in it, which would be filled in here; it is left out")
            return None
        if _NO_CHARACTER.search(value):
            self.warn(path, "has halves of characters in it, and is left out")
            return None
        return value

    def name(self, path: str, value: Any) -> str | None:
        """Return a name, which cannot come from the environment."""
        if isinstance(value, str) and value.startswith(_REFERENCE):
            self.warn(path, "is a name, which cannot come from the environment here; it is left out")
            return None
        return self.text(path, value)

    def secret(self, path: str, value: Any, usual: str) -> str | None:
        """Return where a secret is read from: a literal one is not copied, but moves to a variable, `usual` if free."""
        if not isinstance(value, str) or not value.strip():
            self.warn(path, "is no text, and is left out")
            return None
        if value.startswith(_REFERENCE):
            return self._reference(path, value)
        if value not in self._of_literals:
            name, number = usual, 1
            while name in self.variables or name in self._of_literals.values():
                number += 1
                name = f"{usual}_{number}"
            self._of_literals[value] = name
            self.needed(name, f"the key at {path}, which is not copied")
        return f"${{env:{self._of_literals[value]}}}"

    def _reference(self, path: str, value: str) -> str | None:
        variable = value.removeprefix(_REFERENCE)
        if _NAME.fullmatch(variable) is None:
            self.warn(path, f"asks for the environment variable {variable!r}, whose name cannot be said here; left out")
            return None
        self.needed(variable, f"as before ({path})")
        return f"${{env:{variable}}}"
