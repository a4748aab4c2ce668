"""torchvision's FCN head: scores at stride 8 from a ResNet whose last two stages are dilated."""

from keras import layers

from keras_seg.layers.batch_normalization import BatchNormalization
from keras_seg.layers.conv_block import he_normal
from keras_seg.layers.winograd_conv2d import WinogradConv2D


def dilated_scores(x, num_classes):
    """A 3x3 convolution to a quarter of the channels, batch norm, ReLU, dropout 0.1, and 1x1 scores.

    The head of `torchvision.models.segmentation.fcn_resnet50`; layers are named by its module path. Its
    auxiliary head on the third stage serves the training loss only and is not built.

    Args:
        x: tensor (N, h, w, C), the backbone's last map.
        num_classes: int.

    Returns:
        Tensor (N, h, w, num_classes), float32.
    """
    x = WinogradConv2D(
        x.shape[-1] // 4,
        3,
        padding="same",
        use_bias=False,
        kernel_initializer=he_normal(),
        data_format="channels_last",
        name="classifier_0",
    )(x)
    x = BatchNormalization(momentum=0.9, epsilon=1e-5, name="classifier_1")(x)
    x = layers.ReLU(name="classifier_2")(x)
    x = layers.Dropout(0.1, name="classifier_3")(x)
    return layers.Conv2D(num_classes, 1, data_format="channels_last", dtype="float32", name="classifier_4")(x)
