"""`gateway doctor`: canary secrets are sent through a real gateway of a configuration, and every sink is searched.

`run` is the whole of it: `configuration` moves the user's settings to loopback; `cases` lists the `requests`, which are
sent to the gateway of `process`, between `provider` and `collector`; `sinks` collects its output, files and exports, in
which `judge` finds leaks with the `scanner` of `canaries`; `report` shows them.
"""
