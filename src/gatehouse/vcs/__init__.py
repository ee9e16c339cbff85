"""Git, DVC, the data branch, branches that hold records."""
