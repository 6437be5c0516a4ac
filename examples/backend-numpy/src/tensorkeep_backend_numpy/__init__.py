"""Dense layers in NumPy as a backend of Tensorkeep: an example, and a template."""
