"""The command line: one file a command. A new one is a function in a file of its own, and a line in `main`."""
