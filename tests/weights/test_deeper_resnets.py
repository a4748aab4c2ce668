"""The checkpoints of torchvision's other ResNets, by their shapes: every tensor finds its layer."""

import numpy as np
import pytest

from keras_seg.weights import from_torchvision

pytestmark = pytest.mark.tf_only


def norm(path, channels):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{path}.{part}": (channels,) for part in parts} | {f"{path}.num_batches_tracked": ()}


def resnet(repeats, bottleneck):
    """{name: shape} of the trunk, by table 1 of He et al. 2015 and torchvision's module names."""
    shapes = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    inputs = 64
    for stage, count in enumerate(repeats, start=1):
        width = 64 * 2 ** (stage - 1)
        outputs = 4 * width if bottleneck else width
        for index in range(count):
            path = f"layer{stage}.{index}"
            kernels = (1, 3, 1) if bottleneck else (3, 3)
            channels = [inputs, width, width, outputs] if bottleneck else [inputs, width, width]
            for i, kernel in enumerate(kernels):
                shapes[f"{path}.conv{i + 1}.weight"] = (channels[i + 1], channels[i], kernel, kernel)
                shapes |= norm(f"{path}.bn{i + 1}", channels[i + 1])
            if inputs != outputs:
                shapes[f"{path}.downsample.0.weight"] = (outputs, inputs, 1, 1)
                shapes |= norm(f"{path}.downsample.1", outputs)
            inputs = outputs
    return shapes


def zeros(shapes):
    """Tensors that take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("name", "repeats", "bottleneck", "parameters"),
    [("resnet34", (3, 4, 6, 3), False, 21_797_672), ("resnet101", (3, 4, 23, 3), True, 44_549_160)],
)
def test_classifiers(name, repeats, bottleneck, parameters):
    features = 2048 if bottleneck else 512
    shapes = resnet(repeats, bottleneck) | {"fc.weight": (1000, features), "fc.bias": (1000,)}
    model, report = from_torchvision(name, zeros(shapes), return_report=True)
    # torchvision's own count of its parameters.
    assert report.num_parameters == parameters
    assert model.compute_output_shape((1, 224, 256, 3)) == (1, 1, 2, 1000)
    np.testing.assert_array_equal(model.get_layer(name).get_layer("layer3_5_conv2").kernel, 0)


def test_fcn_resnet101():
    """With the auxiliary head, which is in the file and has no place here."""
    shapes = {f"backbone.{name}": shape for name, shape in resnet((3, 4, 23, 3), bottleneck=True).items()}
    for head, channels in (("classifier", 2048), ("aux_classifier", 1024)):
        shapes[f"{head}.0.weight"] = (channels // 4, channels, 3, 3)
        shapes |= norm(f"{head}.1", channels // 4)
        shapes |= {f"{head}.4.weight": (21, channels // 4, 1, 1), f"{head}.4.bias": (21,)}
    model, report = from_torchvision("fcn_resnet101", zeros(shapes), return_report=True)
    # torchvision counts 54,314,346 with the auxiliary head's 2,365,205.
    assert report.num_parameters == 54_314_346 - 2_365_205
    assert model.compute_output_shape((1, 65, 96, 3)) == (1, 65, 96, 21)
