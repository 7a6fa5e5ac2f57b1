"""Styles on a hub, and pages that show them."""
