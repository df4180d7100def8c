"""The node's own index in SQLite."""
