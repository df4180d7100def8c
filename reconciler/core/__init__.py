"""Frozen values of the domain; standard library only, no clock, no file system, no logging."""
