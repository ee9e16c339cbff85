"""What workflows tell GitHub, and what it is asked."""
