"""torchvision's answers, and the recipe that makes the weights they were computed with."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(os.environ.get("KERAS_SEG_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))


def require(name):
    """(state dict, {name: array}) of a network; skips where they are absent."""
    if not GOLDEN.is_dir():
        pytest.skip(
            f"no answers of torchvision at {GOLDEN}; set KERAS_SEG_GOLDEN to the folder that holds them"
        )
    spec = importlib.util.spec_from_file_location("recipe", GOLDEN / "recipe.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return recipe.state_dict(name), dict(arrays)
