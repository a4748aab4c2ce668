"""ResNet18 in PyTorch, by the paper's table 1, with torchvision's names: a reference without torchvision."""

import torch
from torch import nn


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """Images (N, C, H, W), by mean and deviation, to scores (N, num_classes)."""

    def __init__(self, num_classes=5, channels=3):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for stage in range(1, 5):
            outputs = 64 * 2 ** (stage - 1)
            blocks = (BasicBlock(inputs, outputs, min(stage, 2)), BasicBlock(outputs, outputs, 1))
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            inputs = outputs
        self.fc = nn.Linear(512, num_classes)

    def features(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


def random_resnet18(seed=0, **options):
    """One whose batch normalizations have statistics of their own, as after a training; for inference."""
    torch.manual_seed(seed)
    network = ResNet18(**options)
    for name, tensor in network.state_dict().items():
        if "bn" in name or "downsample.1" in name:
            if name.endswith(("running_var", "weight")):
                tensor.uniform_(0.5, 1)
            elif name.endswith(("running_mean", "bias")):
                tensor.uniform_(-0.1, 0.1)
    return network.eval()


def normalized(images):
    """uint8 (N, H, W, 3) to what torchvision's networks are given, (N, 3, H, W)."""
    x = torch.tensor(images).movedim(-1, 1) / 255
    return (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
