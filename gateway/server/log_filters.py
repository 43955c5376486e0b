"""What the log may not say: what could not be parsed of a request, and what `[redaction]` takes out of all else."""

import logging

from aiohttp.http_exceptions import HttpProcessingError

from gateway.redaction import NOTHING, Redaction

HTTP_LOG = "gateway.http"
# Reads the headers for a collector, and repeats those it cannot read.
_OTEL_HEADERS = "opentelemetry.util.re"
# Who else may log what an exception says, which may be what it was given.
_LIBRARIES = ("aiohttp", "asyncio")


class _Unrepeated(logging.Filter):
    """Keeps what could not be parsed out of the log: the line that was wrong may be one with a key."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg, record.args = "a request was no valid HTTP and is refused: %s", (type(error).__name__,)
            record.exc_info = record.exc_text = None
        elif record.name == _OTEL_HEADERS:
            record.msg, record.args = "OTEL_EXPORTER_OTLP_HEADERS: what is not name=value is left out", ()
        return True


class _Redacted(logging.Filter):
    """Takes what is redacted out of messages and tracebacks."""

    redaction = NOTHING

    def filter(self, record: logging.LogRecord) -> bool:
        if self.redaction:
            record.msg, record.args = self.redaction.text(record.getMessage()), ()
            if record.exc_info:
                record.exc_text = self.redaction.text(_plain.formatException(record.exc_info))
        return True


_plain = logging.Formatter()
_redacted = _Redacted()
for _name in (HTTP_LOG, _OTEL_HEADERS):
    logging.getLogger(_name).addFilter(_Unrepeated())


def redact_logs(redaction: Redaction) -> None:
    """Take out of what the gateway logs what is taken out of all that is kept, from now on."""
    _redacted.redaction = redaction
    _filter("gateway")


def redact_libraries() -> None:
    """Take it out of what libraries log, too: in a process that is the gateway's alone."""
    _filter(*_LIBRARIES)


def _filter(*roots: str) -> None:
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in roots:
            logging.getLogger(name).addFilter(_redacted)
