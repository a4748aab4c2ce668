"""JSON to arrays and back: both layouts, every dtype, and what is refused."""

import json

import numpy as np
import pytest

from keras_seg.serving.errors import RequestError
from keras_seg.serving.json_tensors import COLUMN, ROW, parse_request, read_tensors, write_tensors

pytestmark = pytest.mark.tf_only


def spec(dtype="float32"):
    import tensorflow as tf

    return tf.TensorSpec(None, dtype)


def read(body, **specs):
    _, layout, value = parse_request(json.dumps(body).encode())
    return read_tensors(value, layout, specs)


def refused(message, body, **specs):
    with pytest.raises(RequestError, match=message) as error:
        read(body, **specs)
    assert error.value.status == 400


def test_two_inputs_by_row_and_by_column():
    specs = {"a": spec(), "b": spec("int32")}
    rows = {"instances": [{"a": [1, 2.5], "b": 3}, {"a": [4, 5], "b": 6}]}
    columns = {"inputs": {"a": [[1, 2.5], [4, 5]], "b": [3, 6]}}
    for body in (rows, columns):
        arrays = read(body, **specs)
        np.testing.assert_array_equal(arrays["a"], np.array([[1, 2.5], [4, 5]], "float32"))
        np.testing.assert_array_equal(arrays["b"], np.array([3, 6], "int32"))
        assert [array.dtype for array in arrays.values()] == ["float32", "int32"]


def test_strings_are_text_or_base64_with_or_without_padding():
    arrays = read({"instances": [{"b64": "AQI="}, {"b64": "AQI"}, "é"]}, text=spec("string"))
    assert arrays["text"].tolist() == [b"\x01\x02", b"\x01\x02", "é".encode()]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [1], "inputs": [1]}, "only one of 'inputs' or 'instances'"),
        ({"instances": 3}, "to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [1], "signature_name": 3}, "'signature_name' key must be a string"),
        ({"instances": [{"y": 1}]}, "keys must be equal to: x"),
        ({"instances": [{"x": 1, "y": 1}]}, "keys must be equal to: x"),
        ({"instances": [{"x": 1}, 2]}, "Expecting object but got list at item 1"),
        ({"instances": [1, {"x": 2}]}, "Expecting value/list but got object"),
        ({"inputs": {"y": [1]}}, "Missing named input: x"),
        ({"instances": [[1, 2], [3]]}, "different lengths"),
        ({"instances": ["1"]}, "not of expected type: float32"),
        ({"instances": [None]}, "not of expected type: float32"),
        ({"instances": [True]}, "not of expected type: float32"),
        ({"instances": [[True, 1]]}, "true or false where float32"),
        ({"instances": [[[1, 2], [True, 1.5]]]}, "true or false where float32"),
        ({"instances": [1e39]}, "without loss of precision"),
        ({"instances": [{"x": {"z": 1}}]}, "not of expected type"),
    ],
)
def test_what_is_no_tensor(body, message):
    refused(message, body, x=spec())


@pytest.mark.parametrize("value", [-1, 256, 1.5])
def test_bytes_of_an_image_are_whole_and_fit(value):
    refused("outside 0 to 255|expected type", {"instances": [[value]]}, x=spec("uint8"))


@pytest.mark.parametrize(
    "value", [{"b64": "a"}, {"b64": "%%%%"}, {"b64": 3}, {"b64": "AQI=", "c": 1}, 7, None]
)
def test_broken_base64(value):
    refused("base64|keys must be equal", {"instances": [value]}, x=spec("string"))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"instances": [NaN]}', b"nul"])
def test_what_is_no_json(body):
    with pytest.raises(RequestError, match="JSON Parse error|Is not object"):
        parse_request(body)


def test_answers_by_row_and_by_column():
    one = {"mask_bytes": np.array([b"\x01", b"\x02"], object)}
    two = {"a": np.array([[1.0], [0.5]], "float32"), "b": np.array([3, 4], "int32")}

    def written(outputs, layout):
        return write_tensors(outputs, layout, 100)

    assert json.loads(written(one, ROW)) == {"predictions": [{"b64": "AQ=="}, {"b64": "Ag=="}]}
    assert json.loads(written(one, COLUMN)) == {"outputs": [{"b64": "AQ=="}, {"b64": "Ag=="}]}
    # Whole floats keep their point: clients take the type from it.
    assert written(two, ROW) == b'{"predictions":[{"a":[1.0],"b":3},{"a":[0.5],"b":4}]}'
    assert json.loads(written(two, COLUMN)) == {"outputs": {"a": [[1.0], [0.5]], "b": [3, 4]}}
    assert json.loads(written({"text": np.array([b"a"], object)}, ROW)) == {"predictions": ["a"]}


def test_an_answer_that_would_fill_the_memory_is_refused():
    with pytest.raises(RequestError, match="101 numbers, more than the 100"):
        write_tensors({"a": np.zeros((1, 101), "float32")}, ROW, 100)


def test_float32_survives_the_way_through_text():
    values = np.random.default_rng(0).normal(size=(1, 1000)).astype("float32")
    (back,) = json.loads(write_tensors({"a": values}, ROW, 1000))["predictions"]
    np.testing.assert_array_equal(np.array(back, "float32"), values[0])
