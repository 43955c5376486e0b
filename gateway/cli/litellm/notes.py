"""Notes of an import: warnings, and the environment variables to set."""

import re
from typing import Any

from gateway.config.model import VARIABLE

_REFERENCE = "os.environ/"
_NO_CHARACTER = re.compile("[\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Notes:
    """Warnings in order, each with its path; variables, each with a description of its value."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.variables: dict[str, str] = {}
        self._of_literals: dict[str, str] = {}

    def __repr__(self) -> str:
        """Show no literal: they are keys."""
        return f"<Notes {len(self.warnings)} warnings, variables: {', '.join(self.variables)}>"

    def warn(self, path: str, what: str) -> None:
        """Add a warning, once."""
        line = f"{path}: {what}".encode("utf-8", "backslashreplace").decode()
        if line not in self.warnings:
            self.warnings.append(line)

    def needed(self, variable: str, what: str) -> None:
        """Add a variable to set."""
        self.variables.setdefault(variable, what)

    def text(self, path: str, value: Any) -> str | None:
        """Return a text for `gateway.toml`; None, with a warning, if it cannot have it."""
        if not isinstance(value, str) or not value.strip():
            self.warn(path, "is not a text and is left out")
            return None
        if value.startswith(_REFERENCE):
            return self._reference(path, value)
        if VARIABLE.search(value):
            self.warn(path, "has ${env:...} in it, which would be filled in here; it is left out")
            return None
        if _NO_CHARACTER.search(value):
            self.warn(path, "has invalid Unicode in it and is left out")
            return None
        return value

    def name(self, path: str, value: Any) -> str | None:
        """Return a name; None, with a warning, if it is read from the environment."""
        if isinstance(value, str) and value.startswith(_REFERENCE):
            self.warn(path, "is a name, which cannot come from the environment here; it is left out")
            return None
        return self.text(path, value)

    def secret(self, path: str, value: Any, usual: str) -> str | None:
        """Return a secret's reference. A literal moves to a variable, named `usual` if that is free."""
        if not isinstance(value, str) or not value.strip():
            self.warn(path, "is not a text and is left out")
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
            self.warn(path, f"asks for the environment variable {variable!r}, whose name is not valid here; left out")
            return None
        self.needed(variable, f"as before ({path})")
        return f"${{env:{variable}}}"
