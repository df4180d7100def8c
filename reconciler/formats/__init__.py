"""Headers of model files, read with bounds: what a file says it is."""
