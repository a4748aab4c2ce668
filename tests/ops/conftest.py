"""The forms of the ops, for tests that are to hold in each."""

import keras
import pytest

from keras_seg.ops import portable


@pytest.fixture(params=["default", "portable"])
def form(request):
    """What the backend gets by default, and the portable form.

    A module lists in `ONE_FORM` the backends on which its ops have no other than the portable one.
    """
    if request.param == "portable" and keras.backend.backend() in getattr(request.module, "ONE_FORM", ()):
        pytest.skip("here the default form is the portable one")
    with portable(request.param == "portable"):
        yield request.param
