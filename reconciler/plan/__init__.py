"""Pure functions of desired and observed state: what would happen, in which order, and whether it may."""
