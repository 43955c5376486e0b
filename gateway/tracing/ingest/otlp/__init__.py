"""Spans that applications send over OTLP, as lines of a journal. Pure.

`protocol` decodes requests and encodes responses, `lines` converts a span to a line, `values` converts attribute values
from and to JSON, and `content` decides what of them is captured. Requests arrive in `server.ingest.otlp_endpoint`;
`store.otlp.forwarding` sends the spans on to a collector.
Source: the specification of OTLP 1.10, and of its JSON encoding.
"""
