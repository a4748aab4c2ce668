"""What TF Serving reads beside the graph: requests to warm up with, configurations of models and batches."""

from pathlib import Path

import numpy as np

from keras_seg.utils.atomic import atomic_file

# TF Serving looks for this file in every version's folder and replays it before the version takes requests.
WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")

# The images of a batch share one run; more gain little and cost memory. TF Serving's default waits for none.
_BATCHING = """\
# tensorflow_model_server --enable_batching --batching_parameters_file=.../batching.config
# Requests whose images have different sizes cannot share a batch of arrays: send those to serve_bytes.
max_batch_size { value: 8 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 16 }
num_batch_threads { value: 2 }
"""

_MODELS = """\
# tensorflow_model_server --model_config_file=.../models.config
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
  }}
}}
"""


def write_warmup(folder, name, questions):
    """Write one request for each signature into a version's folder.

    A warm-up makes TensorFlow optimize the graph before the first user asks. Keras is not needed, and neither
    are TF Serving's protos: the few fields used here are written as Protocol Buffers' wire format has them.

    Reference: https://www.tensorflow.org/tfx/serving/saved_model_warmup

    Args:
        folder: Path. The version's, not yet visible under its number.
        name: str. The model's.
        questions: dict of arrays, of a check's `ask`: `batch_0` (images) and `bytes_0` (an encoded image).

    Returns:
        int: the number of requests.
    """
    import tensorflow as tf

    requests = []
    if "batch_0" in questions:
        images = questions["batch_0"][:1]
        requests.append(("serving_default", "images", tf.make_tensor_proto(images.astype("float32"))))
        requests.append(("serving_uint8", "images", tf.make_tensor_proto(np.rint(images).astype("uint8"))))
    if "bytes_0" in questions:
        encoded = tf.make_tensor_proto([questions["bytes_0"].tobytes()])
        requests.append(("serve_bytes", "image_bytes", encoded))
    path = folder / WARMUP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, key, tensor in requests:
            writer.write(_prediction_log(name, signature, key, tensor.SerializeToString()))
    return len(requests)


def write_configs(path):
    """Write `models.config` and `batching.config` into a model's folder, where they are not there yet.

    TF Serving passes over what is no number in that folder. What is there stays: it may have been edited.

    Args:
        path: Path. The model's folder; its name is the model's, and in TF Serving's container it is mounted
            as `/models/NAME`.
    """
    contents = {"models.config": _MODELS.format(name=path.resolve().name), "batching.config": _BATCHING}
    for name, content in contents.items():
        if not (path / name).exists():
            with atomic_file(path / name) as temporary:
                temporary.write_text(content, encoding="utf-8")


def _prediction_log(name, signature, key, tensor):
    """A serialized `PredictionLog` of one predict request; numbers are those of TF Serving's .proto files."""
    model_spec = _field(1, name.encode()) + _field(3, signature.encode())
    entry = _field(1, key.encode()) + _field(2, tensor)
    request = _field(1, model_spec) + _field(2, entry)
    # PredictionLog.predict_log (6) holds PredictLog.request (1).
    return _field(6, _field(1, request))


def _field(number, content):
    """A field of Protocol Buffers that holds bytes: its key, the length as a varint, the bytes."""
    length, varint = len(content), bytearray()
    while length > 0x7F:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    varint.append(length)
    return bytes([number << 3 | 2]) + bytes(varint) + content
