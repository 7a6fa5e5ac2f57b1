"""Measure on a GPU what this project aims at, and say which goals are met. See gpu_check.sh.

Every measurement is a process of its own with a time limit, so that one that hangs or dies costs
the others nothing. Only those processes import PyTorch.
"""
