"""Floor 1: reduction of linear systems, one file a method."""
