"""The FCNs of `keras_seg.fcn` in plain PyTorch: VGG16 with fc6 and fc7, and torchvision's own on ResNet50."""

import torch
from torch import nn
from torch.nn import functional

_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)


class Normalized(nn.Module):
    """A network behind the scaling that our models have as their first layer; returns logits at full size."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).reshape(1, 3, 1, 1))

    def forward(self, images):
        logits = self.network((images - self.mean) / self.deviation)
        return logits["out"] if isinstance(logits, dict) else logits


class FCN8sVGG16(nn.Module):
    """FCN-8s by usual padding: bilinear upsampling, skips summed."""

    def __init__(self, num_classes):
        super().__init__()
        widths = [(3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3)]
        self.blocks = nn.ModuleList(_vgg_block(*width) for width in widths)
        self.classifier = nn.Sequential(
            nn.Conv2d(512, 4096, 7, padding=3), nn.ReLU(inplace=True), nn.Dropout(),
            nn.Conv2d(4096, 4096, 1), nn.ReLU(inplace=True), nn.Dropout(),
        )  # fmt: skip
        self.scores = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for width in (256, 512, 4096))

    def forward(self, images):
        x, maps = images, []
        for block in self.blocks:
            x = functional.max_pool2d(block(x), 2, ceil_mode=True)
            maps.append(x)
        maps[4] = self.classifier(x)
        logits = self.scores[2](maps[4])
        for score, level in ((self.scores[1], 3), (self.scores[0], 2)):
            skip = score(maps[level])
            logits = _enlarge(logits, skip.shape[2:], 2) + skip
        return _enlarge(logits, images.shape[2:], 8)


def fcn_resnet50(num_classes):
    """torchvision's network, without weights and without its auxiliary head."""
    from torchvision.models.segmentation import fcn_resnet50 as build

    return build(weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=False)


def _vgg_block(channels, filters, repeats):
    parts = []
    for i in range(repeats):
        parts += [nn.Conv2d(channels if i == 0 else filters, filters, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)


def _enlarge(x, size, factor):
    x = functional.interpolate(x, scale_factor=factor, mode="bilinear")
    return x[:, :, : size[0], : size[1]]
