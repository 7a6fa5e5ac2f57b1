"""Train a style; the same as `fast-style train`. See `python scripts/train.py --help`."""

import sys

from fast_style.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
