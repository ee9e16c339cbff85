"""What every room builds on: errors, files, places, configuration."""
