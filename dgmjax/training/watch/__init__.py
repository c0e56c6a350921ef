"""What watches a run: the machine, the compiled program, numbers that are not finite."""
