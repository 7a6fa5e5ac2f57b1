"""Hydra in one room: compose and check a configuration, launch runs, resume them."""
