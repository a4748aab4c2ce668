"""What an export did, for people and for programs, and the error of one that failed."""

import dataclasses
from pathlib import Path


class ExportError(RuntimeError):
    """The export did not succeed; nothing was left at its path and what was there before is unchanged."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How far the written file is from `predict`.

    Attributes:
        images: int. Number of images that both answered.
        sizes: tuple of (height, width), pixels, of those images.
        largest_difference: float. Largest absolute difference of a logit.
        tolerance: float. What that difference may be.
        pixels: int. Pixels whose class was compared, over all signatures.
        other_class: int. Pixels of another class although the two best logits are further apart than the
            tolerance explains. Any such pixel is a failure.
        ties: int. Pixels of another class whose two best logits are within it.
        weights: str. How the file stores the weights.
        agreement: float. Mean intersection over union of the file's class maps with those of `predict`.
        mean_iou: (float, float) or None. Mean IU against true masks, of `predict` and of the file.
    """

    images: int
    sizes: tuple
    largest_difference: float
    tolerance: float
    pixels: int
    other_class: int
    ties: int
    weights: str = "float32"
    agreement: float = 1.0
    mean_iou: tuple | None = None

    @property
    def passed(self):
        # Written so that a NaN fails: every comparison with it is false.
        return self.largest_difference <= self.tolerance and self.other_class == 0

    def __str__(self):
        sizes = ", ".join(f"{height}x{width}" for height, width in self.sizes)
        classes = f"{self.other_class} of {self.pixels} pixels of another class"
        if self.ties:
            classes += f" (and {self.ties} ties)"
        if self.weights != "float32":
            classes += f"; mean IU with its class maps {self.agreement:.4f} with {self.weights} weights"
        if self.mean_iou is not None:
            before, after = self.mean_iou
            classes += f"; mean IU of the true masks {before:.4f} by predict, {after:.4f} by the file"
        return (
            f"{self.images} images ({sizes}): largest difference of a logit {self.largest_difference:.2g}, "
            f"allowed {self.tolerance:.2g}; {classes}"
        )


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What was written and how it compares with `predict`; `str(report)` is meant to be printed.

    Attributes:
        path: Path. The version's folder, `PATH/VERSION`; or the file.
        format: str. "saved_model", "onnx", "openvino" or "litert".
        version: int, or None for a file.
        backend: str. The Keras backend whose `predict` the file was compared with.
        signatures: dict of signature name to one line that describes its inputs and outputs.
        comparison: Comparison.
        num_bytes: int. Size of the folder, or of the files.
        seconds: float. Wall-clock time of the export, the check included.
    """

    path: Path
    format: str
    version: int
    backend: str
    signatures: dict
    comparison: Comparison
    num_bytes: int
    seconds: float

    def __str__(self):
        width = max(map(len, self.signatures))
        lines = [f"{self.path}: {self.format}, {_megabytes(self.num_bytes)}, in {self.seconds:.1f} s"]
        lines += [f"  {name:<{width}}  {described}" for name, described in self.signatures.items()]
        lines.append(f"  same as predict on {self.backend}: {self.comparison}")
        return "\n".join(lines)


def _megabytes(num_bytes):
    return f"{num_bytes / 1e6:.1f} MB"
