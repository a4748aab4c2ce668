"""Versions of SavedModels as TF Serving's "servables": loaded, asked, and replaced by newer ones."""

import json
from pathlib import Path

import numpy as np

from keras_seg.serving.errors import RequestError, invalid, not_found, unavailable
from keras_seg.utils.validation import bad_argument

DEFAULT_SIGNATURE = "serving_default"


class Signature:
    """One function of a SavedModel.

    Attributes:
        name: str.
        inputs: dict of name to `tf.TensorSpec`, in the order of names.
        batched: bool. Whether every input has a batch axis of free length, so that requests can be joined.
    """

    def __init__(self, name, function):
        self.name = name
        self._function = function
        self.inputs = dict(sorted(function.structured_input_signature[1].items()))
        specs = [*self.inputs.values(), *function.structured_outputs.values()]
        self.batched = all(spec.shape.rank and spec.shape[0] is None for spec in specs)

    def batch_key(self, inputs):
        """What must be equal for two requests to be run together; None where they cannot be."""
        if not self.batched:
            return None
        return self, tuple((name, array.shape[1:]) for name, array in inputs.items())

    def check(self, inputs):
        """Refuse shapes that the signature does not take, before they can spoil a batch with others.

        Raises:
            RequestError: 400.
        """
        for name, spec in self.inputs.items():
            shape = inputs[name].shape
            if not spec.shape.is_compatible_with(shape):
                expected = "[" + ",".join("?" if side is None else str(side) for side in spec.shape) + "]"
                raise invalid(f"Input {name!r} has shape {list(shape)}; expected is {expected}.")
            if 0 in shape:
                raise invalid(f"Input {name!r} has shape {list(shape)}: it holds nothing.")
        lengths = {inputs[name].shape[0] for name in self.inputs} if self.batched else {0}
        if len(lengths) > 1:
            raise invalid(f"Inputs have different batch sizes: {sorted(lengths)}.")

    def run(self, inputs):
        """dict of name to array, from a dict of name to array.

        Raises:
            RequestError: 400 where the graph refuses the inputs, 503 where memory is short.
        """
        import tensorflow as tf

        try:
            outputs = self._function(
                **{name: tf.constant(inputs[name], spec.dtype) for name, spec in self.inputs.items()}
            )
        except tf.errors.InvalidArgumentError as error:
            raise invalid(_first_lines(error.message)) from error
        except tf.errors.ResourceExhaustedError as error:
            raise unavailable(_first_lines(error.message)) from error
        return {name: value.numpy() for name, value in sorted(outputs.items())}


class Version:
    """One version of a model, loaded.

    Attributes:
        number: int.
        signatures: dict of name to Signature.
        classes: list of {"id", "name", "color"}, or an empty list where the export has none.
        signature_defs: JSON of the signatures, as TF Serving's `metadata` has it.
    """

    def __init__(self, folder):
        import tensorflow as tf

        self.number = int(folder.name)
        self._loaded = tf.saved_model.load(str(folder))
        self.signatures = {
            name: Signature(name, function) for name, function in self._loaded.signatures.items()
        }
        classes = folder / "assets" / "classes.json"
        self.classes = json.loads(classes.read_text(encoding="utf-8"))["classes"] if classes.is_file() else []
        self.signature_defs = _describe(folder)

    def signature(self, name):
        """The signature of that name.

        Raises:
            RequestError: 400, there is none.
        """
        if name not in self.signatures:
            raise invalid(f'Serving signature name: "{name}" not found in signature def')
        return self.signatures[name]

    def warm_up(self, limits):
        """Run each signature once, so that the first user does not wait for the graph's optimization."""
        for signature in self.signatures.values():
            for name, spec in signature.inputs.items():
                if spec.dtype == "string":
                    inputs = {name: np.array([_black_png(64, 64)], object)}
                elif spec.shape.rank == 4:
                    # A fixed size is what the network takes; where it is free, refusing 64 is its right.
                    shape = [
                        side or default for side, default in zip(spec.shape, (1, 64, 64, 3), strict=True)
                    ]
                    inputs = {name: np.zeros(shape, spec.dtype.as_numpy_dtype)}
                else:
                    continue
                if len(signature.inputs) == 1 and next(iter(inputs.values())).size <= 3 * limits.batch_pixels:
                    try:
                        signature.run(inputs)
                    except RequestError:
                        continue


class Servable:
    """A model's folder and its newest version.

    Args:
        name: str. The model's name in the REST paths.
        folder: Path. TF Serving's `base_path`: versions are folders named by whole numbers.
        limits: Limits.

    Raises:
        ValueError: the folder has no version.
    """

    def __init__(self, name, folder, limits):
        self.name = name
        self.folder = Path(folder)
        self._limits = limits
        self._ended = set()
        numbers = self._numbers()
        if not numbers:
            raise bad_argument(
                "folder", "a folder of versions (1/, 2/, ...), as export_model writes it", str(self.folder)
            )
        self.version = self._load(max(numbers))

    def reload(self):
        """Change to a newer version if one has appeared; the old one answers until the new one is loaded.

        Returns:
            bool: whether there was one.
        """
        newest = max(self._numbers(), default=0)
        if newest <= self.version.number:
            return False
        version = self._load(newest)
        self._ended.add(self.version.number)
        # In one step: requests that hold the old version finish on it, then its memory goes.
        self.version = version
        return True

    def get(self, number=None):
        """The version that answers.

        Raises:
            RequestError: 404, `number` is not the one that is loaded.
        """
        if number is not None and number != self.version.number:
            raise not_found(f"Servable not found for request: Specific({self.name}, {number})")
        return self.version

    def status(self, number=None):
        """TF Serving's GetModelStatusResponse as JSON's types."""
        known = {self.version.number: "AVAILABLE", **dict.fromkeys(self._ended, "END")}
        if number is not None:
            if number not in known:
                raise not_found(f"Could not find version {number} of model {self.name}")
            known = {number: known[number]}
        return {
            "model_version_status": [
                {
                    "version": str(version),
                    "state": state,
                    "status": {"error_code": "OK", "error_message": ""},
                }
                for version, state in sorted(known.items(), reverse=True)
            ]
        }

    def metadata(self, number=None):
        """TF Serving's GetModelMetadataResponse as JSON's types."""
        version = self.get(number)
        return {
            "model_spec": {"name": self.name, "signature_name": "", "version": str(version.number)},
            "metadata": {"signature_def": version.signature_defs},
        }

    def _load(self, number):
        version = Version(self.folder / str(number))
        version.warm_up(self._limits)
        return version

    def _numbers(self):
        """Versions that are there; what is still being written has no number for a name."""
        return [
            int(entry.name)
            for entry in self.folder.iterdir()
            if entry.name.isdecimal() and (entry / "saved_model.pb").is_file()
        ]


def _describe(folder):
    """The signatures as `{"signature_def": {NAME: SignatureDef}}`, printed as TF Serving prints them."""
    from google.protobuf import json_format
    from tensorflow.core.protobuf import saved_model_pb2

    content = (folder / "saved_model.pb").read_bytes()
    definitions = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].signature_def
    options = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    return {
        "signature_def": {
            name: json_format.MessageToDict(definition, **options)
            for name, definition in sorted(definitions.items())
        }
    }


def _black_png(height, width):
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()


def _first_lines(message):
    """TensorFlow's message without the list of graph nodes that follows it."""
    lines = [line for line in str(message).splitlines() if line.strip()]
    noise = ("\t", "Detected at node", "Original stack", "[[", "Graph execution error", "<stack traces")
    kept = [line for line in lines if not line.startswith(noise)]
    return " ".join(kept)[:500] or "The model refused its input."
