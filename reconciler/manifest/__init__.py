"""Manifests: text in, desired state out. Reads no file, no clock and no environment."""
