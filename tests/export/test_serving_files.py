"""What TF Serving reads beside the graph, read back with TF Serving's own protos."""

import numpy as np
import pytest

from keras_seg.export.serving_files import WARMUP_FILE, write_configs, write_warmup

pytestmark = pytest.mark.tf_only


def records(folder):
    import tensorflow as tf

    return [record.numpy() for record in tf.data.TFRecordDataset(str(folder / WARMUP_FILE))]


def test_warmup_requests_are_prediction_logs(tmp_path):
    log_pb2 = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="needs tensorflow-serving-api"
    )
    import tensorflow as tf

    images = np.random.default_rng(0).integers(0, 256, (2, 30, 50, 3)).astype("float32")
    encoded = np.frombuffer(b"\x89PNG and more" * 40, "uint8")
    assert write_warmup(tmp_path, "cells", {"batch_0": images, "bytes_0": encoded}) == 3
    requests = [log_pb2.PredictionLog.FromString(record).predict_log.request for record in records(tmp_path)]
    assert [request.model_spec.name for request in requests] == ["cells"] * 3
    names = [request.model_spec.signature_name for request in requests]
    assert names == ["serving_default", "serving_uint8", "serve_bytes"]
    for request, dtype in zip(requests[:2], ("float32", "uint8"), strict=True):
        array = tf.make_ndarray(request.inputs["images"])
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, images[:1])
    assert tf.make_ndarray(requests[2].inputs["image_bytes"]).tolist() == [encoded.tobytes()]
    # Nothing was written that the protos do not know.
    for record in records(tmp_path):
        log = log_pb2.PredictionLog.FromString(record)
        assert len(log.SerializeToString()) == len(record)


def test_a_model_without_encoded_images_is_warmed_up_by_arrays(tmp_path):
    assert write_warmup(tmp_path, "many", {"batch_0": np.zeros((1, 8, 8, 5))}) == 2
    assert len(records(tmp_path)) == 2


def test_configurations_are_those_of_tf_serving(tmp_path):
    config_pb2 = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2", reason="needs tensorflow-serving-api"
    )
    from google.protobuf import text_format

    folder = tmp_path / "cells"
    write_configs(folder)
    parsed = text_format.Parse((folder / "models.config").read_text(), config_pb2.ModelServerConfig())
    (model,) = parsed.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("cells", "/models/cells", "tensorflow")
    batching = text_format.Parse((folder / "batching.config").read_text(), batching_parameters())
    assert (batching.max_batch_size.value, batching.num_batch_threads.value) == (8, 2)


def batching_parameters():
    """TF Serving's `BatchingParameters`, whose .proto file (session_bundle_config) its package leaves out."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", syntax="proto3", package="test_batching")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    for number, name in enumerate(names, start=1):
        message.field.add(name=name, number=number, label=1, type=11, type_name=".google.protobuf.Int64Value")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test_batching.BatchingParameters"))()


def test_configurations_that_were_edited_stay(tmp_path):
    (tmp_path / "batching.config").write_text("# mine\n")
    write_configs(tmp_path)
    assert (tmp_path / "batching.config").read_text() == "# mine\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["batching.config", "models.config"]
