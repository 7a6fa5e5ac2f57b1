"""Stylize one picture by optimising its pixels, without a network (Gatys et al. 2016)."""
