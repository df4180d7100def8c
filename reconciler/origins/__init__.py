"""One module per source kind: each turns a reference into requests."""
