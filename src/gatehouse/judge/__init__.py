"""The judge: the base branch's library over a change, of which nothing runs but in confinement."""
