"""The verb: a trained model, a state dict or a file of systems in, a smaller one out."""
