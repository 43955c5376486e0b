"""Spans that applications send over OTLP, from the request's bytes to lines of a journal. Pure.

`reading` takes a request apart, a span at a time; `lines` makes a journal's line of each; `values` are OTLP's values as
JSON, and back; `content` is what they may say where content is not to be kept; `replies` are the answers of the
protocol. `gateway.receiving` has the requests, `otlp.passing` sends the spans on.
Source: the specification of OTLP 1.10, and of its JSON.
"""
