"""Loads a whole model's weights from a file, with an error that says which file and what did not fit."""

import warnings
from pathlib import Path

from keras_seg.utils.validation import bad_argument


def load_model_weights(model, path):
    """Load `path` into `model`.

    Args:
        model: keras.Model, built.
        path: str or Path of a `.keras` or `.weights.h5` file that a model of the same architecture wrote.

    Raises:
        ValueError: the file is absent, of another kind, or of another architecture.
    """
    path = Path(path)
    if not path.name.endswith((".keras", ".weights.h5")):
        raise bad_argument(
            "weights", 'None, "imagenet", or the path of a .keras or .weights.h5 file', str(path)
        )
    if not path.is_file():
        raise bad_argument("weights", "the path of a file that exists", str(path))
    try:
        # Keras only warns of layers that the file does not have; they would keep their random weights.
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model.load_weights(str(path))
    except (ValueError, KeyError, OSError, UserWarning) as error:
        raise ValueError(
            f"The weights in {path} do not fit {model.name}: {error}\n"
            "Build the model with the arguments that it was saved with, or load the whole model: "
            "keras.saving.load_model(path)."
        ) from error
