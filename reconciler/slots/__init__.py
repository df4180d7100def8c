"""Slot records and the drivers that make a slot serve."""
