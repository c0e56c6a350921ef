"""Images of TensorFlow Datasets, prepared and read without TensorFlow."""
