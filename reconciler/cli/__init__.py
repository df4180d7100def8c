"""Commands, exit codes, rendering, progress: the only place that prints."""
