"""`gateway doctor`: canary secrets go through a real gateway of this configuration, and every sink is looked through.

From the top: `examining` runs it; `child`, `provider`, `collector` are the gateway and what is around it; `driving`
sends; `paths` says what, of `requests` and `answers`; `sinks` collects what was left behind, `judging` says what of it
is a leak, `advice` what to do; `settings` puts the user's configuration onto loopback; `canaries`, `scanning`: the rest
is made of them.
"""
