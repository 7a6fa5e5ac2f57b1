"""``python -m fast_style.cli``."""

from fast_style.cli import main

if __name__ == "__main__":
    main()
