"""The version of the library, and where it lies."""

from pathlib import Path

__version__ = "2.0.0"
LIBRARY = Path(__file__).parents[1]
