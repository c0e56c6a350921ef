"""Benchmarks against other libraries, on the same work in alternation: ``python -m experiments.benchmarks.vector``."""
