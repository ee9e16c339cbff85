"""Bringing an environment to what its record says, on the engine that runs it."""
