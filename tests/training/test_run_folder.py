import json

import pytest

from keras_seg.training import RunFolder

pytestmark = pytest.mark.tf_only


def test_history_round_trip(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start({"a": 1})
    assert run.read_history() == []
    run.write_history([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_loss": 1.0}])
    assert run.read_history() == [{"epoch": 1.0, "loss": 0.5}, {"epoch": 2.0, "loss": 0.25, "val_loss": 1.0}]
    assert run.history.read_text().startswith("epoch,loss,val_loss")


def test_a_run_is_not_overwritten(tmp_path):
    run = RunFolder(tmp_path)
    run.start({"a": 1})
    with pytest.raises(FileExistsError, match="holds a run already. Go on with it"):
        run.start({"a": 2})
    assert run.read_config() == {"a": 1}
    run.start({"a": 2}, resume=True)
    assert json.loads(run.config.read_text()) == {"a": 2}


def test_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        RunFolder(tmp_path).read_config()


def test_a_run_without_a_step_is_withdrawn(tmp_path):
    run, stage = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run" / "32s")
    run.start({})
    stage.start({})
    run.withdraw()
    run.start({})
    stage.start({})
    stage.write_history([{"epoch": 1}])
    run.withdraw()
    assert run.config.exists() and stage.config.exists()


def test_histories_in_a_row(tmp_path):
    runs = [RunFolder(tmp_path / name) for name in ("a", "b", "whole")]
    for run in runs:
        run.start({})
    runs[0].write_history([{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}])
    runs[1].write_history([{"epoch": 0, "val_loss": 2.5}, {"epoch": 1, "loss": 1.0, "val_loss": 1.5}])
    runs[2].join_histories(runs[:2])
    rows = runs[2].read_history()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[2:] == [{"epoch": 3, "val_loss": 2.5}, {"epoch": 4, "loss": 1.0, "val_loss": 1.5}]
    assert runs[2].curves.is_file()
