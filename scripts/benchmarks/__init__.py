"""Benchmarks: one module for each question, with its command and its workers.

Each measurement is a process of its own, and the contenders take turns. Neither what ran before nor
a machine that is busy for a while favours one of them.

On Linux, a process starts with the peak memory of the one that started it. Modules here therefore
import PyTorch only inside of workers.
"""
