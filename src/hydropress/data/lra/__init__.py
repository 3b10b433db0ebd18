"""Long Range Arena: six tasks of long sequences."""
