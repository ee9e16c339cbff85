"""The release: what shall run where, who said so, who vouches for it, and the way back."""
