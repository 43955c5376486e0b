"""Redaction of log records: no invalid input is repeated, and `[redaction]` applies to everything else."""

import logging

from aiohttp.http_exceptions import HttpProcessingError

from gateway.redaction import NOTHING, Redaction

HTTP_LOG = "gateway.http"
# The parser of OTEL_EXPORTER_OTLP_HEADERS, which repeats invalid headers.
_OTEL_HEADERS = "opentelemetry.util.re"
# Libraries that log exceptions, whose messages may hold a request's data.
_LIBRARIES = ("aiohttp", "asyncio")
# botocore's loggers of failed refreshes. Their tracebacks may hold the output of a credential process.
_BOTOCORE = ("botocore.credentials", "botocore.tokens")


class _WithoutInput(logging.Filter):
    """Replaces records about invalid input, since the invalid line may hold a key."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg, record.args = "refused a request that is no valid HTTP: %s", (type(error).__name__,)
            record.exc_info = record.exc_text = None
        elif record.name == _OTEL_HEADERS:
            record.msg, record.args = "OTEL_EXPORTER_OTLP_HEADERS: ignored an entry that is not name=value", ()
        return True


class _WithoutTraceback(logging.Filter):
    """Replaces records of a failed refresh by one line: the error itself is sent to the client, with its remedy."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and (error := record.exc_info[1]) is not None:
            record.msg, record.args = "bedrock: AWS credentials could not be refreshed: %s", (type(error).__name__,)
            record.exc_info = record.exc_text = None
        return True


class _Redacted(logging.Filter):
    """Redacts messages and tracebacks."""

    redaction = NOTHING

    def filter(self, record: logging.LogRecord) -> bool:
        if self.redaction:
            record.msg, record.args = self.redaction.text(record.getMessage()), ()
            if record.exc_info:
                record.exc_text = self.redaction.text(_plain.formatException(record.exc_info))
        return True


_plain = logging.Formatter()
_redacted = _Redacted()
_without_traceback = _WithoutTraceback()
for _name in (HTTP_LOG, _OTEL_HEADERS):
    logging.getLogger(_name).addFilter(_WithoutInput())


def redact_logs(redaction: Redaction) -> None:
    """Redact the gateway's log records from now on."""
    _redacted.redaction = redaction
    _filter("gateway")


def redact_libraries() -> None:
    """Redact the log records of libraries, too, in a process that runs nothing but the gateway."""
    _filter(*_LIBRARIES)
    for name in _BOTOCORE:
        logging.getLogger(name).addFilter(_without_traceback)


def _filter(*roots: str) -> None:
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in roots:
            logging.getLogger(name).addFilter(_redacted)
