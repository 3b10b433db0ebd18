"""The letter's experiment: train, reduce, recover, compare."""
