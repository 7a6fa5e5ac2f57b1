"""Evaluate trained networks: losses, artifacts, and a comparison with L-BFGS."""
