"""The gates: data before training, the blessing after it."""
