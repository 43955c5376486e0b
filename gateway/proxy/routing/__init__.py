"""The pure parts of a decision: paths, options, aliases, candidates, the retry policy, and the health of candidates."""
