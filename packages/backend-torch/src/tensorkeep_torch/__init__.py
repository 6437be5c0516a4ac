"""The TORCH backend of Tensorkeep: models and scripts of PyTorch.

`tensorkeep_torch.plugin` holds the hooks, `tensorkeep_torch.harmless` says which models may run in
the server's process. Nothing else here is meant to be imported. Only the former imports torch.
"""
