"""torchvision's Mask R-CNN as the peer: the same weights, sizes and precision, channels_last."""

import benchmarks.beside_torch  # noqa: F401, I001 - before torchvision: it keeps Triton out of TensorFlow's process

import numpy as np
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn

from benchmarks.torch_device import DEVICE, autocast, wait

# Random scores of 91 classes are all near 1/91, below the threshold of 0.05: nothing would be found, and the
# mask head would have nothing to do. Larger weights of the last layer make a full set of detections.
_SCORE_GAIN = 30.0


class TorchMaskRCNN:
    """torchvision's `maskrcnn_resnet50_fpn` of 91 classes.

    Args:
        side: int. Height and width of the images, pixels.
        precision: "float32" or "bfloat16".
    """

    def __init__(self, side, precision):
        torch.manual_seed(0)
        self._model = maskrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, trainable_backbone_layers=5, min_size=side, max_size=side
        )
        freeze_statistics(self._model)
        with torch.no_grad():
            self._model.roi_heads.box_predictor.cls_score.weight *= _SCORE_GAIN
        self._model = self._model.to(DEVICE, memory_format=torch.channels_last)
        self._autocast = autocast(precision)
        self._optimizer = torch.optim.SGD(self._model.parameters(), 1e-5)

    def state_dict(self):
        """The weights as NumPy arrays."""
        return {name: value.cpu().numpy().copy() for name, value in self._model.state_dict().items()}

    def predict(self, images):
        """Run on images (N, H, W, 3), 0..255; returns the number of detections in each, and waits for all."""
        self._model.eval()
        with torch.inference_mode(), self._autocast:
            found = self._model(_tensors(images))
        wait()
        return [len(one["scores"]) for one in found]

    def train(self, images, objects):
        """One step of SGD; `objects` as in `benchmarks.mask_rcnn`, masks of the whole image."""
        self._model.train()
        targets = [
            {
                "boxes": torch.tensor(boxes, device=DEVICE),
                "labels": torch.tensor(labels, device=DEVICE).long() + 1,
                "masks": torch.tensor(masks, device=DEVICE),
            }
            for boxes, labels, masks in objects
        ]
        self._optimizer.zero_grad()
        with self._autocast:
            losses = self._model(_tensors(images), targets)
        sum(losses.values()).backward()
        self._optimizer.step()
        wait()


def freeze_statistics(model):
    """Batch normalization as a fixed scale and shift, as with torchvision's pretrained weights."""
    from torchvision.ops import FrozenBatchNorm2d

    for name, child in model.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features)
            frozen.load_state_dict(child.state_dict(), strict=False)
            # Trained ones have a shift; with none, a frozen graph leaves out an addition.
            frozen.bias.normal_(0, 0.05)
            setattr(model, name, frozen)
        else:
            freeze_statistics(child)


def _tensors(images):
    pixels = torch.tensor(images, device=DEVICE).permute(0, 3, 1, 2)
    return list((pixels / np.float32(255)).contiguous())
