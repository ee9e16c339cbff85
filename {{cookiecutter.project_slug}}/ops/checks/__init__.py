"""Deepchecks on files, in an environment of its own: `python -m ops.checks data|model`."""
