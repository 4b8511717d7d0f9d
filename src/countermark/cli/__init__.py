"""The command line. No rule lives here; every command is imported when it is called."""

from countermark.cli.root import main

__all__ = ["main"]
