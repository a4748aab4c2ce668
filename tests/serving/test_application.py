"""TF Serving's paths and JSON, from a client's side of the socket."""

import concurrent.futures
import json
import shutil
import threading
import time

import numpy as np
import pytest

from keras_seg.serving import Limits, make_application
from keras_seg.serving.servables import Signature
from tests.serving.toy_server import (
    CLASSES,
    ask,
    bytes_request,
    decoded,
    drawn,
    encoded,
    expected_classes,
    running,
    write_toy,
)

pytestmark = pytest.mark.tf_only

PREDICT = "/v1/models/toy:predict"


def test_rows_of_one_input_may_be_plain(port):
    image = drawn(2, 3)
    for instances in ([image.tolist()], [{"images": image.tolist()}]):
        status, answer = ask(port, PREDICT, json.dumps({"instances": instances}).encode())
        assert status == 200
        (row,) = answer["predictions"]
        assert set(row) == {"logits", "classes"}
        np.testing.assert_array_equal(row["classes"], expected_classes(image))
        np.testing.assert_array_equal(np.array(row["logits"])[..., 1:], image)


def test_columns(port):
    images = np.stack([drawn(2, 3), drawn(2, 3, seed=1)])
    for inputs in (images.tolist(), {"images": images.tolist()}):
        status, answer = ask(port, PREDICT, json.dumps({"inputs": inputs}).encode())
        assert status == 200
        np.testing.assert_array_equal(answer["outputs"]["classes"], [expected_classes(i) for i in images])


def test_encoded_images_of_different_sizes_in_one_request(port):
    images = [drawn(7, 5), drawn(3, 11, seed=1)]
    status, answer = ask(port, PREDICT, bytes_request(*map(encoded, images)))
    assert status == 200
    for image, row in zip(images, answer["predictions"], strict=True):
        assert list(row) == ["b64"]
        np.testing.assert_array_equal(decoded(row["b64"]), expected_classes(image))


def test_one_output_in_columns_has_no_name(port):
    body = json.loads(bytes_request(encoded(drawn(4, 4))))
    inputs = {"image_bytes": [row["image_bytes"] for row in body["instances"]]}
    status, answer = ask(
        port, PREDICT, json.dumps({"signature_name": "serve_bytes", "inputs": inputs}).encode()
    )
    assert status == 200
    np.testing.assert_array_equal(decoded(answer["outputs"][0]["b64"]), expected_classes(drawn(4, 4)))


def test_a_version_may_be_named(port):
    body = bytes_request(encoded(drawn(4, 4)))
    assert ask(port, "/v1/models/toy/versions/3:predict", body)[0] == 200
    assert ask(port, "/v1/models/toy/versions/2:predict", body) == (
        404,
        {"error": "Servable not found for request: Specific(toy, 2)"},
    )


def test_status_and_metadata(port):
    available = {
        "version": "3",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in ("/v1/models/toy", "/v1/models/toy/versions/3", "/V1/Models/toy"):
        assert ask(port, path) == (200, {"model_version_status": [available]})
    status, metadata = ask(port, "/v1/models/toy/metadata")
    assert status == 200
    assert metadata["model_spec"] == {"name": "toy", "signature_name": "", "version": "3"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    described = signatures["serve_bytes"]["inputs"]["image_bytes"]
    assert described["dtype"] == "DT_STRING"
    assert described["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert signatures["serving_uint8"]["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models/other", 404, "Could not find any versions of model other"),
        ("GET", "/v1/models/toy/versions/9", 404, "Could not find version 9 of model toy"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("POST", "/v1/models/other:predict", 404, "Servable not found for request: Latest(other)"),
        ("POST", "/v1/models/toy:classify", 400, "no signature for classify"),
        ("GET", "/v1/models/toy:predict", 400, "Malformed request: GET /v1/models/toy:predict"),
        ("PUT", "/v1/models/toy:predict", 400, "Malformed request: PUT"),
        ("GET", "/v2/health", 400, "Malformed request: GET /v2/health"),
        ("GET", "/page/../../etc/passwd", 400, "Malformed request"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 400, "Malformed request"),
    ],
)
def test_other_paths_have_tf_servings_errors(port, method, path, status, message):
    received, answer = ask(port, path, b"{}" if method != "GET" else None, method)
    assert received == status
    assert list(answer) == ["error"]
    assert message in answer["error"]


class Held:
    """Holds the model back: requests arrive meanwhile."""

    def __init__(self, monkeypatch):
        self.sizes, self.entered, self.go = [], threading.Event(), threading.Event()
        self._run = Signature.run
        monkeypatch.setattr(Signature, "run", lambda signature, inputs: self._wait(signature, inputs))

    def _wait(self, signature, inputs):
        self.entered.set()
        self.go.wait(30)
        self.sizes.append(len(next(iter(inputs.values()))))
        return self._run(signature, inputs)


def test_requests_that_wait_are_run_together_and_each_gets_its_own(toy, monkeypatch):
    images = [drawn(4 + i, 5, seed=i) for i in range(9)]
    bodies = [bytes_request(encoded(image)) for image in images]
    with running({"toy": toy}) as port, concurrent.futures.ThreadPoolExecutor(9) as pool:
        held = Held(monkeypatch)
        answers = [pool.submit(ask, port, PREDICT, bodies[0])]
        held.entered.wait(30)
        answers += [pool.submit(ask, port, PREDICT, body) for body in bodies[1:]]
        _wait(lambda: 'waiting_images{model="toy"} 8.0' in ask(port, "/metrics")[1])
        held.go.set()
        for image, answer in zip(images, answers, strict=True):
            status, content = answer.result()
            assert status == 200
            np.testing.assert_array_equal(decoded(content["predictions"][0]["b64"]), expected_classes(image))
    assert held.sizes == [1, 8]


def test_a_bad_image_fails_alone(toy, monkeypatch):
    good = encoded(drawn(6, 6))
    # The header is whole, so that only the decoder finds it out.
    broken = encoded(drawn(20, 20))[:200]
    bodies = [bytes_request(file) for file in (good, good, broken, good)]
    with running({"toy": toy}) as port, concurrent.futures.ThreadPoolExecutor(4) as pool:
        held = Held(monkeypatch)
        answers = [pool.submit(ask, port, PREDICT, bodies[0])]
        held.entered.wait(30)
        answers += [pool.submit(ask, port, PREDICT, body) for body in bodies[1:]]
        _wait(lambda: 'waiting_images{model="toy"} 3.0' in ask(port, "/metrics")[1])
        held.go.set()
        statuses = [answer.result()[0] for answer in answers]
    assert statuses == [200, 200, 400, 200]


def test_a_model_that_fails_is_a_500_and_the_server_goes_on(toy, monkeypatch):
    run, body = Signature.run, bytes_request(encoded(drawn(6, 6)))

    def fail(signature, inputs):
        raise MemoryError("no memory for that")

    with running({"toy": toy}) as port:
        monkeypatch.setattr(Signature, "run", fail)
        assert ask(port, PREDICT, body) == (500, {"error": "The model failed: no memory for that"})
        monkeypatch.setattr(Signature, "run", run)
        assert ask(port, PREDICT, body)[0] == 200


def test_more_than_can_wait_is_refused_and_what_waits_is_answered(toy, monkeypatch):
    body = bytes_request(encoded(drawn(6, 6)))
    limits = Limits(waiting_images=3, batch_images=2)
    with running({"toy": toy}, limits) as port, concurrent.futures.ThreadPoolExecutor(12) as pool:
        held = Held(monkeypatch)
        answers = [pool.submit(ask, port, PREDICT, body)]
        held.entered.wait(30)
        answers += [pool.submit(ask, port, PREDICT, body) for _ in range(11)]
        _wait(lambda: sum(answer.done() for answer in answers) >= 8)
        held.go.set()
        results = [answer.result() for answer in answers]
    statuses = sorted(status for status, _ in results)
    # One is with the model, three wait.
    assert statuses == [200] * 4 + [503] * 8
    refused = next(answer for status, answer in results if status == 503)
    assert "3 images wait for the model already" in refused["error"]


def test_a_newer_version_takes_over_and_a_broken_one_does_not(tmp_path):
    folder = tmp_path / "toy"
    write_toy(folder / "1")
    body = json.dumps({"instances": [[[[100, 0, 0]]]]}).encode()
    with running({"toy": folder}, poll_seconds=0.05) as port:
        assert ask(port, PREDICT, body)[1]["predictions"][0]["logits"] == [[[40.0, 100.0, 0.0, 0.0]]]
        (folder / "9").mkdir()
        (folder / "9" / "saved_model.pb").write_bytes(b"broken")
        time.sleep(0.3)
        assert ask(port, PREDICT, body)[1]["predictions"][0]["logits"] == [[[40.0, 100.0, 0.0, 0.0]]]
        shutil.rmtree(folder / "9")
        # As `export_model` does it: filled under another name, then renamed.
        write_toy(tmp_path / "new", scale=2.0).rename(folder / "2")
        _wait(lambda: ask(port, "/v1/models/toy/versions/2")[0] == 200)
        assert ask(port, PREDICT, body)[1]["predictions"][0]["logits"] == [[[80.0, 200.0, 0.0, 0.0]]]
        states = {
            entry["version"]: entry["state"]
            for entry in ask(port, "/v1/models/toy")[1]["model_version_status"]
        }
        assert states == {"2": "AVAILABLE", "1": "END"}


def test_metrics_count_requests_by_code(port):
    before = _count(port, 'keras_seg_requests_total{code="200",method="predict",model="toy"}')
    ask(port, PREDICT, bytes_request(encoded(drawn(5, 5))))
    assert _count(port, 'keras_seg_requests_total{code="200",method="predict",model="toy"}') == before + 1
    text = ask(port, "/monitoring/prometheus/metrics")[1]
    assert "keras_seg_batch_images_bucket" in text
    assert 'keras_seg_model_version{model="toy"} 3.0' in text


def test_the_page_knows_the_classes_and_loads_nothing_from_elsewhere(port):
    status, page = ask(port, "/")
    assert status == 200
    assert "http://" not in page
    assert "https://" not in page
    assert ask(port, "/page.js")[0] == ask(port, "/page.css")[0] == 200
    (model,) = ask(port, "/page/models")[1]["models"]
    assert model["classes"] == CLASSES
    assert (model["name"], model["version"]) == ("toy", 3)


def test_what_cannot_be_served_is_refused_at_once(tmp_path, toy):
    with pytest.raises(ValueError, match="`folder` must be a folder of versions"):
        make_application({"empty": tmp_path})
    with pytest.raises(ValueError, match="`models` must be names without slash"):
        make_application({"a/b": toy})
    with pytest.raises(ValueError, match="`body_bytes` must be an integer of at least 1"):
        Limits(body_bytes=0)


def _count(port, name):
    lines = ask(port, "/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def _wait(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
