"""Pictures of objects while a detector trains: when they are written, and what is in them."""

import numpy as np
import pytest
from PIL import Image

from keras_seg.inference import predict_instances
from keras_seg.training import InstancePictures, RunFolder
from keras_seg.viz import detection_grid
from tests.training.test_average_precision import fit, held_out


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start({})
    return run


def test_pictures_are_of_the_model_as_it_is_after_each_of_these_epochs(run):
    data = held_out()
    model, _ = fit(8, InstancePictures(run, data, every=3, count=2))
    names = sorted(path.name for path in run.pictures.iterdir())
    assert names == ["epoch-0003.png", "epoch-0006.png", "epoch-0008.png"]
    first, _, last = (np.asarray(Image.open(run.pictures / name)) for name in names)
    items = [data.read_objects(index) for index in (0, 2)]
    rows = [(*item, predict_instances(model, [item[0]])[0]) for item in items]
    np.testing.assert_array_equal(last, detection_grid(rows, data.object_names))
    # It has forgotten by then what it still found at first: only the last column differs.
    column = last.shape[1] // 3
    assert np.array_equal(first[:, : 2 * column], last[:, : 2 * column])
    assert not np.array_equal(first[:, 2 * column :], last[:, 2 * column :])
    assert list((run.tensorboard / "pictures").iterdir())
