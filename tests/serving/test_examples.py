"""The examples of `examples/serving/` do what they say, against the toy's server and a gRPC server of it."""

import concurrent.futures
import contextlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serving.toy_server import ask, drawn, encoded, expected_classes

pytestmark = pytest.mark.tf_only

EXAMPLES = Path(__file__).parents[2] / "examples" / "serving"


def run(script, *arguments):
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def photos(tmp_path):
    """Three images of different sizes and formats, and what the toy says of them."""
    images = {"a.png": drawn(9, 12), "b.png": drawn(20, 7, seed=1), "c.png": drawn(5, 5, seed=2)}
    for name, image in images.items():
        (tmp_path / name).write_bytes(encoded(image))
    return {tmp_path / name: expected_classes(image) for name, image in images.items()}


def assert_masks(folder, photos):
    for path, classes in photos.items():
        np.testing.assert_array_equal(np.asarray(Image.open(folder / path.name)), classes)


def test_rest_client(port, photos, tmp_path):
    url = f"http://127.0.0.1:{port}/v1/models/toy"
    done = run("rest_client.py", *photos, "--url", url, "--out", tmp_path / "masks", "--batch-size", 2)
    assert done.returncode == 0, done.stderr
    assert_masks(tmp_path / "masks", photos)


def test_rest_client_says_what_the_server_said(port, tmp_path):
    (tmp_path / "no.png").write_bytes(b"no image")
    done = run("rest_client.py", tmp_path / "no.png", "--url", f"http://127.0.0.1:{port}/v1/models/toy")
    assert done.returncode == 1
    assert "answered 400: Input is not an image" in done.stderr
    assert "Traceback" not in done.stderr
    done = run("rest_client.py", tmp_path / "no.png", "--url", "http://127.0.0.1:9/v1/models/toy")
    assert "does not answer" in done.stderr


@contextlib.contextmanager
def grpc_server(toy, fail_first):
    """TF Serving's gRPC interface of the toy's `serve_bytes`; the first `fail_first` calls are refused."""
    grpc = pytest.importorskip("grpc")
    name = "tensorflow_serving.apis.prediction_service_pb2_grpc"
    service = pytest.importorskip(name, reason="needs tensorflow-serving-api")
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    serve = tf.saved_model.load(str(toy / "3")).signatures["serve_bytes"]
    calls = []

    class Service(service.PredictionServiceServicer):
        def Predict(self, request, context):
            calls.append((request, context.time_remaining()))
            if len(calls) <= fail_first:
                context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
            images = tf.constant(tf.make_ndarray(request.inputs["image_bytes"]).astype("S"))
            answer = predict_pb2.PredictResponse()
            masks = serve(image_bytes=images)["mask_bytes"].numpy()
            answer.outputs["mask_bytes"].CopyFrom(tf.make_tensor_proto(list(masks), tf.string))
            return answer

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    service.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port, calls
    finally:
        server.stop(None).wait()


def test_grpc_client(toy, photos, tmp_path, monkeypatch, capsys):
    with grpc_server(toy, fail_first=1) as (port, calls):
        arguments = [*photos, "--target", f"127.0.0.1:{port}", "--model", "toy", "--out", tmp_path / "masks"]
        arguments += ["--batch-size", 2, "--timeout", 20]
        monkeypatch.setattr(sys, "argv", ["grpc_client.py", *map(str, arguments)])
        assert load_example("grpc_client").main() == 0
    assert_masks(tmp_path / "masks", photos)
    # Two batches, the first of which was refused once.
    assert len(calls) == 3
    request, remaining = calls[0]
    assert (request.model_spec.name, request.model_spec.signature_name) == ("toy", "serve_bytes")
    assert list(request.output_filter) == ["mask_bytes"]
    assert 0 < remaining <= 20


def load_example(name):
    """In this process: another one would import TensorFlow again."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", [("--concurrency", 4), ("--rate", 20)])
def test_load(port, tmp_path, kind):
    (tmp_path / "a.png").write_bytes(encoded(drawn(9, 12)))
    url = f"http://127.0.0.1:{port}/v1/models/toy"
    options = (*kind, "--seconds", 1, "--json", tmp_path / "figures.json")
    done = run("load.py", tmp_path / "a.png", "--url", url, *options)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures["codes"]) == {"200"}
    assert figures["requests"] == figures["codes"]["200"] >= (20 if "--rate" in kind else 4)
    assert figures["wrong"] == 0
    assert 0 < figures["p50"] <= figures["p99"]
    assert ask(port, "/v1/models/toy")[0] == 200


def test_the_shell_script_and_the_manifest_can_be_read():
    yaml = pytest.importorskip("yaml")
    subprocess.run(["bash", "-n", str(EXAMPLES / "docker.sh")], check=True)
    deployment, service = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert probe in container
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    script = (EXAMPLES / "docker.sh").read_text()
    assert container["image"] in script
