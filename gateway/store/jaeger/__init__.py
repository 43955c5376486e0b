"""The store as Jaeger's query service shows it. Pure.

`asked` reads what a UI asks for, `sql` asks the store for it, `spans` and `otlp_json` say it in Jaeger's two ways;
`admin.jaeger` has the routes. Sources: Jaeger 1.76 and 2.20 (its query service, and what its UI calls), and Grafana's
Jaeger datasource.
"""
