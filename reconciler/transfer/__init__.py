"""From an origin's bytes to a verified blob: protocol, pump, retries, the lane of jobs."""
