"""The live model is watched by its inference log."""
