"""Lets ``python -m fast_style.cli`` start the command line."""

from fast_style.cli import main

if __name__ == "__main__":
    main()
