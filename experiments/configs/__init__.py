"""One file a result: the header says what it reproduces, the command, the expected number and the cost."""
