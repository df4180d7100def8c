"""Blobs on disk: layout, partial downloads, quarantine, view generations."""
