"""Carries out a plan: instant actions in order, jobs through the lane."""
