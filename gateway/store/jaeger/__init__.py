"""Jaeger's query API over the store. Pure.

    parameters          a query string, parsed
    sql                 the query to the store
    spans, otlp_json    its rows, in Jaeger's two formats

`server.admin.jaeger` has the routes. Sources: Jaeger 1.76 and 2.20 (its query service, and the requests of its UI), and
Grafana's Jaeger datasource.
"""
