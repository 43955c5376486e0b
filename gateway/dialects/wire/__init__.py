"""Encodings below the dialects: JSON, server-sent events, lines, AWS's event stream, content codings. Pure."""
