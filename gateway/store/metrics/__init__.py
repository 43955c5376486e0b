"""Metrics of what the journals tell, made beside the store and not in the proxy: they cost a request nothing.

`instruments` says what there is, `following` reads what is appended to the journals, `folding` counts it (pure),
`series` holds the counts, `observed` looks up what others count, `exposition` writes it all as text for Prometheus,
`export` sends it over OTLP, `meter` and `page` put these together.
"""
