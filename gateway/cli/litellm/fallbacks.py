"""LiteLLM's fallbacks: the models to try after a failed one. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.cli.litellm.notes import Notes

_KINDS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")


class Fallbacks:
    """All fallbacks of and to known models."""

    def __init__(
        self, known: Mapping[str, Any], router: Mapping[str, Any], litellm: Mapping[str, Any], notes: Notes
    ) -> None:
        self._known = known
        self._notes = notes
        also = router.get("model_group_alias")
        self._also = {
            name: target.get("model") if isinstance(target, dict) else target
            for name, target in (also.items() if isinstance(also, dict) else ())
        }
        self._of: dict[str, list[str]] = {}
        self._default: list[str] = []
        sections = (("router_settings", router), ("litellm_settings", litellm))
        for kind in _KINDS:
            for section, value in sections:
                self._read(f"$.{section}.{kind}", value.get(kind), only=kind if kind != "fallbacks" else None)
        for section, value in sections:
            self._default += self._models(f"$.{section}.default_fallbacks", value.get("default_fallbacks"))

    def __repr__(self) -> str:
        return f"<Fallbacks of {', '.join(self._of) or 'none'}>"

    def of(self, name: str) -> list[str]:
        """Return a model's fallbacks and theirs in turn, each once; cycles are cut."""
        found: list[str] = []
        waiting = list(self._following(name))
        while waiting:
            following = waiting.pop(0)
            if following != name and following not in found:
                found.append(following)
                waiting += self._following(following)
        return found

    def _following(self, name: str) -> Sequence[str]:
        return self._of.get(name) or self._default

    def _read(self, path: str, value: Any, only: str | None) -> None:
        for at, name, models in self._entries(path, value):
            following = self._models(at, models)
            if name != "*" and self._group(name) is None:
                self._notes.warn(at, "is of no model of model_list and is left out")
                continue
            if only is not None and following:
                self._notes.warn(at, "is tried after any failure here, not only that one")
            if name == "*":
                self._default += following
            else:
                self._of.setdefault(str(self._group(name)), []).extend(following)

    def _entries(self, path: str, value: Any) -> Iterator[tuple[str, str, Any]]:
        """Yield path, model and fallbacks from a list of tables, or one table."""
        if value is None:
            return
        if not isinstance(value, list | dict):
            self._notes.warn(path, "is not a list and is left out")
            return
        for index, each in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(each, dict):
                self._notes.warn(f"{path}[{index}]", "is not a table and is left out")
                continue
            for name, models in each.items():
                yield f"{path}[{index}].{name}", str(name), models

    def _models(self, path: str, value: Any) -> list[str]:
        if value is None:
            return []
        found = []
        for index, each in enumerate(value if isinstance(value, list) else [value]):
            group = self._group(each) if isinstance(each, str) else None
            if group is None:
                self._notes.warn(f"{path}[{index}]", "names no model of model_list and is left out")
            else:
                found.append(group)
        return found

    def _group(self, name: str) -> str | None:
        """Return the model of a name or an alias of it; None if there is none."""
        if name in self._known:
            return name
        target = self._also.get(name)
        return target if isinstance(target, str) and target in self._known else None
