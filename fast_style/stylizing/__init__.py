"""Stylize pictures, files and contact sheets with a trained network."""
