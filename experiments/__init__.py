"""Trained results and how they came about: commands, configs, figures, benchmarks, the lectures row by row."""
