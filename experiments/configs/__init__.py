"""One file a result, or a suite of them: what it reproduces, the command, the expected number and the cost."""
