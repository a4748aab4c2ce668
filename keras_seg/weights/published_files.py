"""Tells torchvision's own files from others, for the two networks whose files need more than their weights.

torchvision names its files by the first digits of their SHA-256: googlenet-1378be20.pth.
"""

import hashlib
import os

_DIGESTS = {"googlenet": "1378be20", "maskrcnn_resnet50_fpn": "bf2d0c1e"}


def is_published(name, state_dict_or_path):
    """Whether a checkpoint is the file that torchvision published for a network, whatever its name is now.

    Args:
        name: str, a network of torchvision.
        state_dict_or_path: the checkpoint; a dictionary never is one.

    Returns:
        bool.
    """
    if name not in _DIGESTS or not isinstance(state_dict_or_path, (str, os.PathLike)):
        return False
    with open(state_dict_or_path, "rb") as file:
        digest = hashlib.sha256()
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest().startswith(_DIGESTS[name])
