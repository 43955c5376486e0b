"""The formats of Converse's images, documents, videos and sounds, and their media types. Pure."""

# By Converse's word; of two for one type the first is written.
_TYPES = {
    "image": {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"},
    "document": {
        "pdf": "application/pdf",
        "csv": "text/csv",
        "doc": "application/msword",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xls": "application/vnd.ms-excel",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "html": "text/html",
        "txt": "text/plain",
        "md": "text/markdown",
    },
    "video": {
        "mkv": "video/x-matroska",
        "mov": "video/quicktime",
        "mp4": "video/mp4",
        "webm": "video/webm",
        "flv": "video/x-flv",
        "mpeg": "video/mpeg",
        "mpg": "video/mpeg",
        "wmv": "video/x-ms-wmv",
        "three_gp": "video/3gpp",
    },
    "audio": {
        "mp3": "audio/mpeg",
        "opus": "audio/opus",
        "wav": "audio/wav",
        "aac": "audio/aac",
        "flac": "audio/flac",
        "mp4": "audio/mp4",
        "ogg": "audio/ogg",
        "mka": "audio/x-matroska",
        "mkv": "audio/x-matroska",
        "x-aac": "audio/x-aac",
        "m4a": "audio/x-m4a",
        "mpeg": "audio/mpeg",
        "mpga": "audio/mpeg",
        "pcm": "audio/pcm",
        "webm": "audio/webm",
    },
}
_FORMATS = {modality: {mime: form for form, mime in reversed(types.items())} for modality, types in _TYPES.items()}
_ALIASES = {
    "image/jpg": "jpeg",
    "audio/mp3": "mp3",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/m4a": "m4a",
    "video/x-m4v": "mp4",
    "text/x-markdown": "md",
    "application/xhtml+xml": "html",
}
# First characters of files in base64, for those without a media type: Ollama's clients send images bare.
_BEGINNINGS = {"iVBORw0KGgo": "png", "/9j/": "jpeg", "R0lGOD": "gif", "UklGR": "webp"}


def mime_type(modality: str, form: str | None) -> str | None:
    """Return the media type of a format, None if there is no format."""
    if form is None:
        return None
    return _TYPES[modality].get(form) or f"{'application' if modality == 'document' else modality}/{form}"


def format_of(modality: str, mime: str | None, content: str = "") -> str | None:
    """Return Converse's format for a media type; None if it has none. Without a type the content decides."""
    if mime is None:
        first = next((form for begins, form in _BEGINNINGS.items() if content.startswith(begins)), None)
        return first if modality == "image" else ("pdf" if content.startswith("JVBER") else None)
    bare = mime.partition(";")[0].strip().lower()
    return _FORMATS.get(modality, {}).get(bare) or _ALIASES.get(bare)


def format_in(modality: str, uri: str) -> str | None:
    """Return the format of a file name's extension."""
    ending = uri.rpartition(".")[2].lower()
    ending = "jpeg" if ending == "jpg" else ending
    return ending if ending in _TYPES.get(modality, {}) else None
