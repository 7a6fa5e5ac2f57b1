"""How good a style is."""
