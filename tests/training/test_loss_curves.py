"""The same small training gives the same loss curve on TensorFlow, JAX and PyTorch."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest


@pytest.mark.slow
@pytest.mark.tf_only
def test_backends_agree():
    curves = {}
    for backend in ("tensorflow", "jax", "torch"):
        run = subprocess.run(
            [sys.executable, "-m", "tests.training.loss_curve"],
            env={**os.environ, "KERAS_BACKEND": backend},
            capture_output=True,
            text=True,
            check=True,
        )
        curves[backend] = np.array(json.loads(run.stdout.strip().splitlines()[-1]))
    assert len(curves["tensorflow"]) == 20
    assert curves["tensorflow"][-1] < 0.9 * curves["tensorflow"][0]
    for backend in ("jax", "torch"):
        assert np.abs(curves[backend] - curves["tensorflow"]).max() < 1e-3, curves
