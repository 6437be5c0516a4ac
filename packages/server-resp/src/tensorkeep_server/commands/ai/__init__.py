"""The AI commands: tensors, models, scripts, and several of them as one request."""
