"""Messages in OpenInference's flat form: `PREFIX.N.message.role`, `.content`, `.tool_calls.N.tool_call...`. Pure."""

from collections.abc import Mapping
from typing import Any

from gateway.store.otlp.content import Attributes, parts_of, text_of

_TEXTS = {"text": "text", "refusal": "text", "reasoning": "reasoning"}
_MEDIA = {
    "image": ("image", "image.url", None),
    "audio": ("audio", "audio.url", "audio.mime_type"),
    "video": ("video", "video.url", None),
    "document": ("document", "document.url", "document.mime_type"),
}
# Fields of parts and messages that the flat form has.
_FIELDS = {
    "text": {"content"},
    "reasoning": {"content"},
    "tool_call": {"id", "name", "arguments"},
    "tool_call_response": {"id", "response"},
    "message": {"role", "parts", "name", "finish_reason"},
}


class Flattened:
    """Messages in sequence under one prefix, as attributes."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0
        self.attributes: Attributes = {}

    def __repr__(self) -> str:
        return f"<Flattened {self._prefix} messages: {self._count}>"

    def add(self, message: Mapping[str, Any]) -> bool:
        """Add a message; return whether the flat form holds all of it.

        Each tool response is a message of its own, since a message has a single `tool_call_id`.
        """
        items = parts_of(message)
        responses = [part for part in items if part.get("type") == "tool_call_response"]
        others = [part for part in items if part.get("type") != "tool_call_response"]
        whole = message.get("parts") == items and set(message) <= _FIELDS["message"]
        for part in responses:
            self._begin(message)
            whole &= self._tool_response(part)
        if others or not responses:
            self._begin(message)
            for index, part in enumerate(part for part in others if part.get("type") == "tool_call"):
                whole &= self._call(index, part)
            whole &= self._contents([part for part in others if part.get("type") != "tool_call"])
        return whole

    def _begin(self, message: Mapping[str, Any]) -> None:
        self._at = f"{self._prefix}.{self._count}.message"
        self._count += 1
        for name in ("role", "name", "finish_reason"):
            if message.get(name) is not None:
                self.attributes[f"{self._at}.{name}"] = text_of(message[name])

    def _contents(self, parts: list[dict[str, Any]]) -> bool:
        if len(parts) == 1 and parts[0].get("type") == "text" and isinstance(parts[0].get("content"), str):
            self.attributes[f"{self._at}.content"] = parts[0]["content"]
            return set(parts[0]) <= {"type", *_FIELDS["text"]}
        whole = True
        for index, part in enumerate(parts):
            whole &= self._content(f"{self._at}.contents.{index}.message_content", part)
        return whole

    def _content(self, at: str, part: dict[str, Any]) -> bool:
        kind, content = part.get("type"), part.get("content")
        if kind in _TEXTS and isinstance(content, str):
            self.attributes |= {f"{at}.type": _TEXTS[kind], f"{at}.text": content}
            return kind in _FIELDS and set(part) <= {"type", "content"}
        url = part.get("uri") if kind == "uri" else None
        if kind == "blob" and isinstance(content, str):
            url = f"data:{part.get('mime_type') or 'application/octet-stream'};base64,{content}"
        if isinstance(url, str) and part.get("modality") in _MEDIA:
            modality, place, mime = _MEDIA[part["modality"]]
            self.attributes |= {f"{at}.type": modality, f"{at}.{modality}.{place}": url}
            if mime is not None and isinstance(part.get("mime_type"), str):
                self.attributes[f"{at}.{modality}.{mime}"] = part["mime_type"]
            return set(part) <= {"type", "modality", "mime_type", "uri" if kind == "uri" else "content"} and (
                kind == "blob" or mime is not None or "mime_type" not in part
            )
        # Its own type, and all of it as JSON: some readers show types that they do not know.
        self.attributes |= {f"{at}.type": text_of(kind or "other"), f"{at}.text": text_of(part)}
        return True

    def _call(self, index: int, part: dict[str, Any]) -> bool:
        at = f"{self._at}.tool_calls.{index}.tool_call"
        for name, place in (("id", "id"), ("name", "function.name"), ("arguments", "function.arguments")):
            if part.get(name) is not None:
                self.attributes[f"{at}.{place}"] = text_of(part[name])
        return set(part) <= {"type", *_FIELDS["tool_call"]}

    def _tool_response(self, part: dict[str, Any]) -> bool:
        if part.get("id") is not None:
            self.attributes[f"{self._at}.tool_call_id"] = text_of(part["id"])
        if part.get("response") is not None:
            self.attributes[f"{self._at}.content"] = text_of(part["response"])
        return set(part) <= {"type", *_FIELDS["tool_call_response"]}
