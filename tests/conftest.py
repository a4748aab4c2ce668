"""Settings for every test: the backend comes from KERAS_BACKEND, slow tests need --slow."""

import contextlib
import gc
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# torch before TensorFlow: loaded after it, the two runtimes' OpenMP libraries have been seen to clash.
with contextlib.suppress(ImportError):
    import torch  # noqa: F401

import keras
import pytest

DATA = Path(os.environ.get("KERAS_SEG_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
        if item.get_closest_marker("tf_only") and keras.backend.backend() != "tensorflow":
            item.add_marker(pytest.mark.skip(reason="does not depend on the backend: runs on TensorFlow"))


def pytest_sessionfinish():
    # What plugins still import, hypothesis by name, looks for objects among those that are not frozen.
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="module")
def _collected():
    """What the modules before left is freed; what stays, imports and graphs, is not looked through again.

    Once a module and not, as `clear_session` would, once a test: that took more than half of all the time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _fresh_keras(_collected):
    """Each test starts from the same seed, the default policy and no leftover layer names."""
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def real_data():
    """The folder of real data sets; a test that needs it skips, saying why, where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}; set KERAS_SEG_DATA to the folder that holds them")
    return DATA
