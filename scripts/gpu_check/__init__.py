"""Measure the project's goals on a GPU, and report which are met. See gpu_check.sh.

Every measurement is a process of its own with a time limit. One that hangs or dies does not stop
the others. Only those processes import PyTorch.
"""
