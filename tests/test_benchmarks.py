"""The benchmark of the ops runs and writes what it measured; its check of the results can fail."""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.op_cases import BACKWARD, CASES, FORWARD, agrees, arrays_of, least_bytes
from benchmarks.op_worker import KerasOps

pytestmark = pytest.mark.tf_only

ROOT = Path(__file__).parents[1]


def test_ops_runs_and_writes_json(tmp_path):
    out = tmp_path / "ops.json"
    command = [sys.executable, "-m", "benchmarks.ops", "--quick", "--repeats", "1", "--out", str(out)]
    command += ["--ops", "nms", "--backends", "tensorflow", "--forms", "default"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "nms, forward, float32" in run.stdout
    written = json.loads(out.read_text())
    assert written["machine"]["processor"]
    rows = [row for row in written["results"]["rows"] if row["worker"] == "tensorflow"]
    assert [row["mode"] for row in rows] == ["graph", "xla"]
    assert all(row["seconds"] > 0 for row in rows)
    peer = next((row for row in written["results"]["rows"] if row["worker"] == "peer"), None)
    if peer is not None and "failed" not in peer:
        assert all(row["agrees"] and row["ratio"] > 0 for row in rows)
    else:
        assert all(row["unchecked"] for row in rows)


def test_pytorchs_own_ops_run_beside_ours(tmp_path):
    out = tmp_path / "ops.json"
    command = [sys.executable, "-m", "benchmarks.ops", "--quick", "--repeats", "1", "--out", str(out)]
    command += ["--ops", "max_unpool", "--backends", "torch", "--forms", "default", "--dtypes", "float32"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = json.loads(out.read_text())["results"]["rows"]
    ours = [row for row in rows if row["worker"] == "torch"]
    assert [row["worker"] for row in rows] == ["peer", "torch"] * 2
    assert all(row["agrees"] and row["ratio"] > 0 for row in ours)


@pytest.mark.parametrize("name", CASES)
def test_every_op_runs_in_a_graph(name):
    case, engine = CASES[name], KerasOps()
    for work, dtype in itertools.product(
        case.works, ("float32", "bfloat16") if case.features else ("float32",)
    ):
        run, _ = engine.function(name, case, arrays_of(case, dtype, quick=True), work, dtype, mode="graph")
        outputs, gradients = run()
        assert len(gradients) == (len(case.features) if work == BACKWARD else 0)
        assert all(np.isfinite(array).all() for array in engine.arrays([*outputs, *gradients]))


@pytest.mark.parametrize("name", CASES)
def test_inputs_are_the_same_each_time(name):
    first, second = (arrays_of(CASES[name], "float32", quick=True) for _ in range(2))
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert set(CASES[name].features) <= set(first)


def test_the_check_finds_a_wrong_value_a_wrong_index_and_a_missing_box():
    rng = np.random.default_rng(0)
    values, indices = rng.normal(size=(2, 8, 4)), rng.integers(0, 9, (2, 8, 4))
    pool = CASES["max_pool_with_argmax"]
    assert agrees(pool, [values, indices], [values, indices], "float32")[0]
    assert not agrees(pool, [values * 1.001, indices], [values, indices], "float32")[0]
    assert not agrees(pool, [values, indices + (indices == indices.max())], [values, indices], "float32")[0]
    assert not agrees(pool, [values], [values, indices], "float32")[0]
    kept = np.arange(100)
    padded = [np.append(kept, [-1, -1]), np.array(100)]
    assert agrees(CASES["nms"], padded, [kept], "float32")[0]
    assert not agrees(CASES["nms"], [kept[:-1], np.array(99)], [kept], "float32")[0]


def test_least_bytes_of_pooling():
    # 2 x 16 x 16 x 4 inputs, 2 x 8 x 8 x 4 values and indices; backward reads the upstream gradient and the
    # indices and writes the gradient.
    case = CASES["max_pool_with_argmax"]
    inputs = arrays_of(case, "float32", quick=True)
    outputs = [np.zeros((2, 8, 8, 4), "float32"), np.zeros((2, 8, 8, 4), "int32")]
    whole, pooled = 2 * 16 * 16 * 4, 2 * 8 * 8 * 4
    assert least_bytes(case, FORWARD, inputs, outputs, [], "float32") == 4 * whole + 8 * pooled
    both = least_bytes(case, BACKWARD, inputs, outputs, [inputs["x"]], "float32")
    assert both == (4 * whole + 8 * pooled) + (8 * pooled + 4 * whole)
    assert least_bytes(case, FORWARD, inputs, outputs, [], "bfloat16") == 2 * whole + (2 + 4) * pooled


def test_object_overlaps_are_those_of_each_object():
    """Two squares of one class: one found whole, of the other a half, and a stray pixel far away."""
    pytest.importorskip("cv2")
    from benchmarks.deconvnet_claims import object_overlaps

    class Squares:
        ignore_class, num_classes = None, 2

        def read_instances(self, index):
            return instances

    instances = np.zeros((40, 40), int)
    instances[4:12, 4:12], instances[20:36, 20:36] = 1, 2
    predicted = (instances == 1) | (instances == 2) & (np.arange(40) < 28)
    predicted[0, 39] = True
    found = object_overlaps(Squares(), 0, (instances > 0).astype(int), predicted.astype(int))
    assert found == [(8.0, 1.0), (16.0, 0.5)]


def test_box_masks_measures_what_it_says():
    from benchmarks.box_masks import _rows, proposals_around
    from keras_seg.data import open_source
    from keras_seg.data.proposals import overlapping

    random, box = np.random.default_rng(0), np.array([10, 20, 40, 60], "float32")
    boxes = proposals_around(box, 20, random, least=0.7)
    assert overlapping(boxes, [box])[1].min() >= 0.7 and len(np.unique(boxes[:, 0])) > 10
    arguments = argparse.Namespace(seed=0, objects=6, proposals=2, sizes=[14, 56])
    rows = _rows(open_source("shapes:2,size=96"), arguments)
    assert len(rows) == 6
    coarse, fine = np.mean([errors for _, errors in rows], axis=0)[:2]
    assert 0 < fine[0] < coarse[0] < 0.1 and 0 < fine[1] < coarse[1] < 0.1
