"""Scripts: train, evaluate, sample; configs, one file a result."""
