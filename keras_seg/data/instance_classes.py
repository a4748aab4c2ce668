"""The class of each object, from a map of classes and a map of instances."""

import numpy as np


def instance_classes(mask, instances, ignore_class=None):
    """The commonest class among each object's pixels; the lowest where two are as common.

    Args:
        mask: integer array (H, W), class ids.
        instances: integer array (H, W), 0 for background.
        ignore_class: int or None. Pixels of it have no say.

    Returns:
        dict of int to int: instance id to class. Objects of ignored pixels alone are left out.

    Example:
        >>> instance_classes(np.array([[0, 2, 2, 1]]), np.array([[0, 7, 7, 7]]))
        {7: 2}
    """
    shares = instance_class_shares(mask, instances, ignore_class)
    return {number: kind for number, (kind, _) in shares.items()}


def instance_class_shares(mask, instances, ignore_class=None):
    """`instance_classes` with the share of each object's pixels that the class has.

    Returns:
        dict of int to (int, float): instance id to class and share, within (0, 1].
    """
    counts = np.asarray(instances) > 0
    if ignore_class is not None:
        counts = counts & (mask != ignore_class)
    numbers, rows = np.unique(instances[counts], return_inverse=True)
    table = np.zeros((len(numbers), int(mask.max(initial=0)) + 1), int)
    np.add.at(table, (rows, mask[counts].astype(int)), 1)
    return {
        int(number): (int(votes.argmax()), float(votes.max() / votes.sum()))
        for number, votes in zip(numbers, table, strict=True)
    }
