"""The release: what shall run where, who said so, and the way back."""
