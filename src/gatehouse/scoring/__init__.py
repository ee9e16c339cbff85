"""A whole table is scored by the blessed model."""
