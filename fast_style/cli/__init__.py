"""The command line: each command reads its arguments, calls a room of the package and prints.

Commands import what they need when they run, so that ``--help`` does not wait for PyTorch.
"""

from fast_style.cli.group import main

__all__ = ["main"]
