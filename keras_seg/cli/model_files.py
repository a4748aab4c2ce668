"""Opens what a user calls "the model": a run folder, or a `.keras` file with or without its run beside it."""

import dataclasses
import json
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A model and what its run says of its classes.

    Attributes:
        path: Path of the `.keras` file.
        model: keras.Model.
        class_names: tuple of str; "0", "1", ... where no run folder names them.
        colors: uint8 (K, 3), or None for the default colours.
        ignore_class: int or None.
    """

    path: Path
    model: object
    class_names: tuple
    colors: np.ndarray | None
    ignore_class: int | None


def open_model(path):
    """Load a model for prediction.

    Args:
        path: str. A run folder, which stands for its `model.keras`, or a `.keras` file.

    Returns:
        ModelFile.

    Raises:
        FileNotFoundError: there is no such model; says what was looked for.
    """
    import keras

    import keras_seg  # noqa: F401, registers the layers

    path = Path(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            f"No model at {file}. Give a run folder of `keras-seg train`, or a .keras file."
        )
    model = keras.saving.load_model(file, compile=False)
    config = file.parent / "config.json"
    described = json.loads(config.read_text()) if config.is_file() else {}
    names = described.get("class_names") or [str(index) for index in range(model.output_shape[-1])]
    colors = described.get("colors")
    return ModelFile(
        file,
        model,
        tuple(names),
        None if colors is None else np.asarray(colors, "uint8"),
        described.get("ignore_class"),
    )


def class_index(model_file, text):
    """The id of a class that a user named, by its name or its number.

    Raises:
        ValueError: no such class; lists them.
    """
    if text in model_file.class_names:
        return model_file.class_names.index(text)
    if text.isdigit() and int(text) < len(model_file.class_names):
        return int(text)
    listed = ", ".join(f"{index} {name}" for index, name in enumerate(model_file.class_names))
    raise ValueError(f"The model has no class {text!r}. Its classes: {listed}.")
