"""The command line: one function per command, in `main`; each imports its modules when it runs."""
