"""What every model is held to; run by pytest as a stage, from where the library is installed."""
