"""YAML text becomes a DesiredState, or diagnostics with positions."""
