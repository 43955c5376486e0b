"""Metrics, counted from the journals by the recorder, so that they cost a request nothing.

instruments    every metric: name, unit, labels, buckets
count          journal_reader -> lines -> folding -> series; observed for gauges of the store and the workers
emit           exposition (Prometheus), export (OTLP), by meter
"""
