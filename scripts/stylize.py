"""Stylize pictures; the same as `fast-style stylize`. See `python scripts/stylize.py --help`."""

import sys

from fast_style.cli import main

if __name__ == "__main__":
    main(["stylize", *sys.argv[1:]])
