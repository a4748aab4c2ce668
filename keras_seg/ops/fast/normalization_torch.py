"""Batch normalization by PyTorch's fused kernel."""

import torch


def batch_normalization(x, gamma, beta, mean, variance, epsilon, by_batch):
    """The TensorFlow form's arguments and results."""
    planes = x.permute(0, 3, 1, 2)
    if by_batch:
        # With a momentum of 1 the kernel leaves the batch's own statistics here.
        mean, variance = torch.zeros_like(mean), torch.zeros_like(variance)
    planes = torch.batch_norm(
        planes, gamma, beta, mean, variance, by_batch, 1.0, epsilon, torch.backends.cudnn.enabled
    )
    count = x.numel() // x.shape[3]
    if by_batch:
        # With Bessel's correction, which Keras's has not; of a single value the kernel makes 0 / 0.
        variance = variance * ((count - 1) / count) if count > 1 else torch.zeros_like(variance)
    return planes.permute(0, 2, 3, 1), mean, variance
