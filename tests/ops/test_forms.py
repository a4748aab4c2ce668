"""Which form of an op a process gets: the native ones by default, the portable ones when told so."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_seg import ops as seg_ops
from tests.ops.box_cases import boxes_about, compiled
from tests.ops.roi_cases import random_map, value_and_gradient

BACKEND = keras.backend.backend()
NATIVE = importlib.import_module(f"keras_seg.ops.fast.{BACKEND}").NATIVE
FEATURES, BOXES = random_map(1, 8, 8, 16), boxes_about(6, 8, 8)


def aligned(features):
    return seg_ops.roi_align(features, BOXES, 2)


def pooled(features):
    values, indices = seg_ops.max_pool_with_argmax(features)
    return seg_ops.max_unpool(values, indices)


def kept(features):
    boxes = keras.ops.convert_to_tensor(BOXES[0])
    return seg_ops.nms(boxes, features[0, 0, :6, 0], 0.5, 3)


USES = {
    "tensorflow": {
        "bag_sums": aligned,
        "bag_sums_gradient": aligned,
        "compiled": lambda features: seg_ops.roi_pool(features, BOXES, 2),
        "max_pool_with_argmax": pooled,
        "max_unpool": pooled,
        "nms": kept,
    },
    "torch": {
        "bag_sums": aligned,
        "bag_sums_gradient": aligned,
        "bag_maxima": lambda features: seg_ops.roi_pool(features, BOXES, 2),
        "max_pool_with_argmax": pooled,
        "max_unpool": pooled,
        "nms": kept,
    },
    "jax": {"add_rows": aligned, "nms": kept},
}[BACKEND]


@pytest.mark.parametrize("name", USES)
def test_the_native_form_is_reached_by_default_and_not_in_the_portable_context(name, monkeypatch):
    calls, native = [], NATIVE[name]

    def spy(*arguments, **keywords):
        calls.append(name)
        return native.function(*arguments, **keywords)

    monkeypatch.setitem(NATIVE, name, native._replace(function=spy))
    for forced in (False, True):
        calls.clear()
        with seg_ops.portable(forced):
            if USES[name] is kept:
                compiled(kept)(FEATURES)
            else:
                upstream = np.ones(compiled(USES[name])(FEATURES).shape, "float32")
                value_and_gradient(USES[name], FEATURES, upstream, compiled=BACKEND == "jax")
        assert bool(calls) is not forced


@pytest.mark.parametrize("value", ["1", "0", None])
def test_the_environment_variable_holds_for_a_process(value):
    environment = {name: held for name, held in os.environ.items() if name != "KERAS_SEG_PORTABLE"}
    if value is not None:
        environment["KERAS_SEG_PORTABLE"] = value
    code = "from keras_seg.ops.fast import native_form; print(native_form('nms') is None)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "KERAS_BACKEND": BACKEND},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split()[-1] == str(value == "1")
