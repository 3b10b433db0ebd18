"""Floor 3: what layers see, and their reduction with that in mind."""
