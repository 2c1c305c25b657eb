"""Training on several workers: the paper's parameter server, on the collectives of `torch.distributed`."""
