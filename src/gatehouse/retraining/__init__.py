"""Whether to train again, and on which facts that was decided."""
