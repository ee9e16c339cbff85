"""What runs where, who said so, and who vouches for it."""
