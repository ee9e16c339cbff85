"""GitHub, through ``gh``; standard library only, so that a runner's own Python will do."""
