"""The configuration: composed, checked and kept."""
