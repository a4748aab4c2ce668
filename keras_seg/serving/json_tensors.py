"""TF Serving's JSON: `instances` or `inputs` in, `predictions` or `outputs` out.

Reference: TF Serving's RESTful API, https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import binascii

import numpy as np

from keras_seg.serving.errors import invalid, shorten
from keras_seg.utils.optional import import_optional

ROW, COLUMN = "row", "column"


def parse_request(body):
    """The JSON object of a predict request, checked as far as that is possible without a signature.

    Args:
        body: bytes.

    Returns:
        (signature name or None, "row" or "column", the value of `instances` or `inputs`).

    Raises:
        RequestError: 400.
    """
    orjson = import_optional("orjson", "The server's JSON", "serve")
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {shorten(document)} Is not object")
    name = document.get("signature_name")
    if "signature_name" in document and not isinstance(name, str):
        raise invalid(
            f"JSON Value: {shorten(document)} not formatted correctly. 'signature_name' key must be a string "
            "value."
        )
    if ("instances" in document) == ("inputs" in document):
        if "inputs" in document:
            raise invalid(
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
            )
        raise invalid("Missing 'inputs' or 'instances' key")
    if "inputs" in document:
        return name, COLUMN, document["inputs"]
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid("Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid("No values in 'instances' array")
    return name, ROW, instances


def read_tensors(value, layout, specs):
    """Arrays for a signature.

    Args:
        value: what `parse_request` returned.
        layout: "row" or "column".
        specs: dict of name to `tf.TensorSpec`.

    Returns:
        dict of name to array; strings as an object array of bytes.

    Raises:
        RequestError: 400.
    """
    named = _instances_by_name(value, specs) if layout == ROW else _inputs_by_name(value, specs)
    return {name: _to_array(named[name], spec.dtype, name) for name, spec in specs.items()}


def write_tensors(outputs, layout, most_values):
    """The answer's JSON.

    Args:
        outputs: dict of name to array.
        layout: "row" or "column", as the request's.
        most_values: int. An answer of more numbers is refused.

    Returns:
        bytes.

    Raises:
        RequestError: 400, the answer would be too large.
    """
    orjson = import_optional("orjson", "The server's JSON", "serve")
    size = sum(array.size for array in outputs.values())
    if size > most_values:
        raise invalid(
            f"The answer has {size} numbers, more than the {most_values} that are written as JSON. Send "
            "fewer or smaller images, or encoded ones to `serve_bytes`."
        )
    values = {name: _to_json(array, name) for name, array in outputs.items()}
    if layout == COLUMN:
        document = {"outputs": values if len(values) > 1 else next(iter(values.values()))}
    elif len(values) == 1:
        document = {"predictions": next(iter(values.values()))}
    else:
        rows = zip(*values.values(), strict=True)
        document = {"predictions": [dict(zip(values, row, strict=True)) for row in rows]}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _instances_by_name(instances, specs):
    def is_object(element):
        return isinstance(element, dict) and not _is_base64(element)

    if not is_object(instances[0]):
        if len(specs) > 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input tensors required"
            )
        if any(is_object(element) for element in instances):
            raise invalid("Expecting value/list but got object in 'instances' list")
        return {next(iter(specs)): instances}
    for i, element in enumerate(instances):
        if not is_object(element):
            raise invalid(f"Expecting object but got list at item {i} of input list")
        if element.keys() != specs.keys():
            raise invalid(
                f"Failed to process element: {i} of 'instances' list. JSON object: {shorten(element)} "
                f"keys must be equal to: {','.join(specs)}"
            )
    return {name: [element[name] for element in instances] for name in specs}


def _inputs_by_name(inputs, specs):
    if isinstance(inputs, dict) and not _is_base64(inputs):
        missing = [name for name in specs if name not in inputs]
        if missing:
            raise invalid(f"Missing named input: {missing[0]} in 'inputs' object.")
        return inputs
    if len(specs) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required"
        )
    return {next(iter(specs)): inputs}


def _to_array(value, dtype, name):
    if dtype == "string":
        return _to_strings(value, name)
    wanted = np.dtype(dtype.as_numpy_dtype)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise invalid(f"Input {name!r} is not a tensor: its lists have different lengths.") from error
    kinds = {"f": "iuf", "i": "iu", "u": "iu", "b": "b"}.get(wanted.kind, "")
    # An empty list has no type; a large whole number beyond int64 becomes an object or a float.
    if array.size and array.dtype.kind not in kinds:
        raise invalid(f"JSON Value: {shorten(value)} of input {name!r} is not of expected type: {dtype.name}")
    if wanted.kind in "iu" and array.size:
        bounds = np.iinfo(wanted)
        if array.min() < bounds.min or array.max() > bounds.max:
            raise invalid(f"Input {name!r} has values outside {bounds.min} to {bounds.max}.")
    if wanted.kind == "f" and array.size and not np.abs(array).max() <= np.finfo(wanted).max:
        raise invalid(f"Cannot convert a value of input {name!r} to {dtype.name} without loss of precision.")
    if wanted.kind != "b" and _has_boolean(value):
        raise invalid(f"Input {name!r} has true or false where {dtype.name} is expected.")
    return array.astype(wanted)


def _has_boolean(value):
    """Whether a nested list holds a boolean among numbers; NumPy would make it 0 or 1."""
    if isinstance(value, list):
        if value and isinstance(value[0], list):
            return any(map(_has_boolean, value))
        # In C: `bool` is the type of True and False alone.
        return bool in set(map(type, value))
    return isinstance(value, bool)


def _to_strings(value, name):
    """Object array of bytes, from a nested list of strings or of {"b64": ...}."""
    shape, level = [], value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
        # Beyond this no signature goes; a deep list is not worth walking.
        if len(shape) > 8:
            raise invalid(f"Input {name!r} is nested too deeply.")
    flat = value if shape else [value]
    for length in shape[1:]:
        if not all(isinstance(part, list) and len(part) == length for part in flat):
            raise invalid(f"Input {name!r} is not a tensor: its lists have different lengths.")
        flat = [element for part in flat for element in part]
    strings = np.empty(len(flat), object)
    for i, element in enumerate(flat):
        strings[i] = _to_bytes(element)
    return strings.reshape(shape)


def _to_bytes(element):
    if isinstance(element, str):
        return element.encode()
    if not _is_base64(element):
        raise invalid(f"JSON Value: {shorten(element)} not formatted correctly for base64 data")
    text = element["b64"]
    # As TF Serving's decoder: the padding may be left out.
    padding = "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text + padding, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _is_base64(value):
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _to_json(array, name):
    if array.dtype != object:
        return np.ascontiguousarray(array)
    as_bytes = name.endswith("_bytes")

    def convert(value):
        if isinstance(value, list):
            return [convert(part) for part in value]
        if as_bytes:
            return {"b64": base64.b64encode(value).decode()}
        return value.decode("utf-8", "replace")

    return convert(array.tolist())
