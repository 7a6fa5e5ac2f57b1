"""The command line."""

from fast_style.cli.program import main

__all__ = ["main"]
