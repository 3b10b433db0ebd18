"""Floor 0: linear systems in modal form and everything about them that has a closed form."""
