"""The U-Net of `keras_seg.unet` in plain PyTorch: the same layers, written as PyTorch's users write them."""

import torch
from torch import nn


class TorchUNet(nn.Module):
    """Padded U-Net without normalization, transposed convolutions up; images scaled to [-1, 1] first.

    Args:
        num_classes: int.
        filters: int. Channels at full resolution.
        depth: int. Halvings.
        dropout: float. After the last two blocks of the contracting path.
    """

    def __init__(self, num_classes, filters, depth=4, dropout=0.5):
        super().__init__()
        widths = [filters * 2**level for level in range(depth + 1)]
        self.encoder = nn.ModuleList(
            _block(3 if level == 0 else widths[level - 1], width) for level, width in enumerate(widths)
        )
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in range(depth)
        )
        self.decoder = nn.ModuleList(_block(2 * widths[level], widths[level]) for level in range(depth))
        self.head = nn.Conv2d(filters, num_classes, 1)
        self.depth = depth

    def forward(self, images):
        x, skips = images / 127.5 - 1, []
        for level, block in enumerate(self.encoder):
            x = block(x)
            if level >= self.depth - 1:
                x = self.dropout(x)
            if level < self.depth:
                skips.append(x)
                x = nn.functional.max_pool2d(x, 2)
        for level in reversed(range(self.depth)):
            x = self.decoder[level](torch.cat([skips[level], self.up[level](x)], dim=1))
        return self.head(x)


def _block(channels, filters):
    return nn.Sequential(
        nn.Conv2d(channels, filters, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(filters, filters, 3, padding=1),
        nn.ReLU(inplace=True),
    )
