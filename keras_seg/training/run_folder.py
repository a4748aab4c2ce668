"""A run's folder: what was asked, how it went, and the models, each file whole at any moment.

config.json         the arguments of the run
model.keras         the best model on the held-out data so far
checkpoint.keras    the last epoch's model with its optimizer; a resumed run goes on from it
history.csv         one row an epoch
curves.png          the same as a picture
pictures/           predictions beside the truth
tensorboard/        for `tensorboard --logdir`
"""

import csv
import json
from pathlib import Path

from keras_seg.utils.atomic import atomic_file
from keras_seg.viz import learning_curves, save_png


class RunFolder:
    """Paths, config and history of one run.

    Args:
        path: str or Path. The folder; made if absent.

    Attributes:
        model, checkpoint, config, history, curves, pictures, tensorboard: Path.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.model = self.path / "model.keras"
        self.checkpoint = self.path / "checkpoint.keras"
        self.config = self.path / "config.json"
        self.history = self.path / "history.csv"
        self.curves = self.path / "curves.png"
        self.pictures = self.path / "pictures"
        self.tensorboard = self.path / "tensorboard"

    def start(self, config, resume=False):
        """Make the folder and write its config.

        Args:
            config: dict of plain values.
            resume: bool. True allows a folder that holds a run.

        Raises:
            FileExistsError: the folder holds a run and `resume` is False: no run is overwritten.
        """
        if self.config.exists() and not resume:
            raise FileExistsError(
                f"{self.path} holds a run already. Go on with it (--resume), or give another folder (--out)."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.config) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n")

    def withdraw(self):
        """Take `start` back if nothing has been written since, here or in the folders of stages.

        For a mistake that shows before the first step: the corrected run may have the folder.
        """
        files = [path for path in self.path.rglob("*") if path.is_file()]
        if all(path.name == self.config.name for path in files):
            for path in files:
                path.unlink()

    def read_config(self):
        """The dict that `start` wrote.

        Raises:
            FileNotFoundError: the folder holds no run.
        """
        if not self.config.is_file():
            raise FileNotFoundError(f"{self.path} holds no run: it has no config.json.")
        return json.loads(self.config.read_text())

    def read_history(self):
        """List of dicts, one an epoch; numbers as floats. Empty before the first epoch has ended."""
        if not self.history.is_file():
            return []
        with self.history.open(newline="") as file:
            return [
                {key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)
            ]

    def write_history(self, rows):
        """Write all rows, dicts with "epoch"; columns are the union of their keys, "epoch" first."""
        columns = list(dict.fromkeys(["epoch", *(key for row in rows for key in row)]))
        with atomic_file(self.history) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)

    def join_histories(self, stages):
        """Write the epochs of several runs in a row as this one's, and draw them.

        Args:
            stages: list of RunFolder. At least one has a history.
        """
        rows = [row for stage in stages for row in stage.read_history()]
        self.write_history([{**row, "epoch": count} for count, row in enumerate(rows, start=1)])
        keys = [key for key in rows[-1] if key != "epoch"]
        save_png(self.curves, learning_curves({key: [row.get(key) for row in rows] for key in keys}))

    def save_model(self, model, path):
        """Save a model to `path` under a temporary name first."""
        with atomic_file(path) as temporary:
            model.save(temporary)
