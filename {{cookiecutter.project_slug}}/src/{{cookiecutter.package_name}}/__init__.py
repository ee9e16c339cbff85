"""What is particular to this project: its cleaning, its features, its model."""
