"""When and how a pass runs."""
