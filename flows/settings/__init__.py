"""Settings: the pipeline file, read and validated."""
