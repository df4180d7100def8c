"""Desired state in a repository: read with the git command, which nothing it meets may take over."""
