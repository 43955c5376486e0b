"""What to change where something leaked. Pure."""

from gateway.cli.doctor.canaries import Class
from gateway.cli.doctor.sinks import CLIENT, COMMANDS, LOG, METRICS, PAGES, SPANS

_REPORT = "report it as a defect of the gateway (SECURITY.md says how)"


def change(of: Class, kind: str, sink: str, form: str) -> str:
    """Return what the user can do: by a setting where there is one, and else until it is mended."""
    if of == "content":
        if sink == SPANS:
            return f'$.capture.otlp does not hold: {_REPORT}; until then set $.capture.store = "off"'
        if sink in {LOG, METRICS, CLIENT, COMMANDS}:
            return f"no setting asks for this: {_REPORT}"
        return f'$.capture.store does not hold: {_REPORT}; until then set $.capture.store = "off"'
    if of == "redacted":
        return f"the rule for {kind} does not take it out here ({form}): widen it in $.redaction.patterns, or {_REPORT}"
    if sink == LOG:
        return f"{_REPORT}; until then run without --verbose, and keep the log to yourself"
    if sink == SPANS:
        return f'{_REPORT}; until then set $.capture.otlp = "off", and renew the key if the collector is not yours'
    if sink == PAGES:
        return f"{_REPORT}; until then set $.auth.required = true and $.auth.token"
    if sink == CLIENT:
        return f"{_REPORT}; until then give clients keys of their own"
    return f'{_REPORT}; until then set $.capture.store = "off", and renew keys that are in old segments'
