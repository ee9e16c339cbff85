"""What speaks to GitHub: Python's standard library and `gh`, so that no environment is needed."""
