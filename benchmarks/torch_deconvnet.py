"""DeconvNet in plain PyTorch, layer for layer that of `keras_seg.deconvnet`."""

from torch import nn

_ENCODER = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_DECODER = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64, 64))


class DeconvNet(nn.Module):
    """Images (N, 3, H, W), scaled already, to logits (N, num_classes, H, W)."""

    def __init__(self, num_classes, width=1.0):
        super().__init__()

        def scaled(channels):
            return -(-int(channels * width) // 8) * 8

        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        inputs = 3
        for channels in _ENCODER:
            self.encoder.append(_block(inputs, [scaled(c) for c in channels]))
            inputs = scaled(channels[-1])
        fc = scaled(4096)
        self.middle = nn.Sequential(
            *_unit(nn.Conv2d(inputs, fc, 7), fc),
            *_unit(nn.Conv2d(fc, fc, 1), fc),
            *_unit(nn.ConvTranspose2d(fc, inputs, 7), inputs),
        )
        for channels in _DECODER:
            self.decoder.append(_block(inputs, [scaled(c) for c in channels]))
            inputs = scaled(channels[-1])
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.score = nn.Conv2d(inputs, num_classes, 1)

    def forward(self, images):
        x, places = images, []
        for block in self.encoder:
            x, indices = self.pool(block(x))
            places.append(indices)
        x = self.middle(x)
        for block in self.decoder:
            x = block(self.unpool(x, places.pop()))
        return self.score(x)


def _block(inputs, channels):
    parts = []
    for outputs in channels:
        parts += _unit(nn.Conv2d(inputs, outputs, 3, padding=1), outputs)
        inputs = outputs
    return nn.Sequential(*parts)


def _unit(convolution, channels):
    return convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
