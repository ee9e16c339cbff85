"""People answer what the model is unsure of."""
