"""The store: journals sealed into DuckDB segments, queried in a sandbox, measured, and exported.

write    recorder -> segments, compaction, with ledger (counts of a journal) and views (SQL of the view file)
read     query -> sandbox, with landlock; dump writes a file; times parses --since
serve    metrics/ (Prometheus, OTLP), otlp/ (spans to a collector), jaeger/ (its query API)
"""
