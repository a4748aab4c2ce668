"""What an import of a checkpoint did, for people and for programs."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class LoadedWeight:
    """One variable that was loaded.

    Attributes:
        layer: str. Name of the layer.
        variable: str. Name of its variable: "kernel", "bias", "gamma", ...
        shape: tuple of int. The variable's shape.
        tensor: str. Name of the tensor in the checkpoint.
    """

    layer: str
    variable: str
    shape: tuple
    tensor: str


@dataclasses.dataclass(frozen=True)
class ImportReport:
    """What of a checkpoint went where; `str(report)` is meant to be printed.

    Attributes:
        network: str. torchvision's name of the network.
        source: str. The file, or "a dictionary".
        loaded: tuple of LoadedWeight.
        unused: dict of str to tuple of str. The reason to the names of the tensors that were not used.
        untouched: tuple of str. Layers of the model that the checkpoint has nothing for, so that they keep
            the weights that they had; empty for a whole network.
        notes: tuple of str. What else a user should know, a sentence each.
    """

    network: str
    source: str
    loaded: tuple
    unused: dict
    untouched: tuple
    notes: tuple

    @property
    def num_parameters(self):
        """int. Numbers that were loaded and can be trained: the statistics of batch normalization are not."""
        return self._count(statistics=False)

    @property
    def num_statistics(self):
        """int. Moving means and variances of batch normalization that were loaded."""
        return self._count(statistics=True)

    def _count(self, statistics):
        return sum(
            math.prod(weight.shape)
            for weight in self.loaded
            if weight.variable.startswith("moving_") == statistics
        )

    def __str__(self):
        layers = len({weight.layer for weight in self.loaded})
        numbers = f"{self.num_parameters:,} parameters"
        if self.num_statistics:
            numbers += f" and {self.num_statistics:,} batch statistics"
        lines = [
            f"{self.network} from {self.source}",
            f"  loaded     {len(self.loaded)} tensors into {layers} layers: {numbers}",
        ]
        for reason, names in self.unused.items():
            lines.append(f"  not used   {shorten(names)}: {reason}")
        if self.untouched:
            lines.append(f"  untouched  {shorten(self.untouched)}: the checkpoint is not for these layers")
        lines += [f"  note       {note}" for note in self.notes]
        return "\n".join(lines)


def shorten(names, shown=3):
    """A list of names in a line: the first ones, and how many there are."""
    listed = ", ".join(names[:shown])
    return listed if len(names) <= shown else f"{listed} and {len(names) - shown} more"
