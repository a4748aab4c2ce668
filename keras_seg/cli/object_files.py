"""The files that `keras-seg predict` writes of a detector: maps of objects, overlays, COCO's results."""

import json
from pathlib import Path

from keras_seg.utils.atomic import atomic_file
from keras_seg.utils.validation import check_number

_SCORE = 0.5
_MOST_CATEGORIES = 65535


class ObjectFiles:
    """Predicts image files one by one and writes what was found.

    Args:
        opened: ModelFile of a detector.
        paths: list of Path, all that will be predicted; their numbers are the images' ids in the results,
            or their names, where all of them are numbers, as COCO's own files have them.
        folder: str or Path. `folder/NAME.png` gets 16-bit ids of objects, 1 for the best.
        score_threshold: float or None, which means 0.5. Lower scores are in no picture.
        min_scale: float or None. Least scale at which large images are seen, see `predict_instances`.
        augment: None, "mirror" or "all", see `predict_instances`.
        batch_size: int. Windows of an image at once.
        overlay: bool. Also write `folder/overlays/NAME.png`.
        results: bool. Keep what `write_results` writes.
    """

    def __init__(
        self,
        opened,
        paths,
        folder,
        score_threshold=None,
        min_scale=None,
        augment=None,
        batch_size=1,
        overlay=False,
        results=False,
    ):
        from keras_seg.inference import FrozenModel

        # One image takes less time than the preparation.
        self._model = FrozenModel(opened.model) if len(paths) > 1 else opened.model
        self._names = opened.class_names
        self._category_ids = opened.category_ids or range(1, _MOST_CATEGORIES + 1)
        self._folder, self._overlay = Path(folder), overlay
        score = _SCORE if score_threshold is None else score_threshold
        self._score = check_number("score_threshold", score, 0, 1)
        self._seeing = {"min_scale": min_scale, "augment": augment, "batch_size": batch_size}
        named = all(path.stem.isdecimal() for path in paths)
        self._ids = {path: int(path.stem) if named else number for number, path in enumerate(paths, start=1)}
        self._results = [] if results else None

    def predict(self, path):
        """Write the pictures of one image."""
        from keras_seg.data.image_files import read_image
        from keras_seg.inference import coco_results, predict_instances
        from keras_seg.viz import detection_overlay, save_png

        image = read_image(path, self._model.input_shape[-1])
        (found,) = predict_instances(self._model, [image], **self._seeing)
        shown = found.above(self._score)
        save_png(self._folder / f"{path.stem}.png", shown.id_map())
        if self._overlay:
            picture = detection_overlay(image, shown, self._names or None)
            save_png(self._folder / "overlays" / f"{path.stem}.png", picture)
        if self._results is not None:
            rows = coco_results([found], [self._ids[path]], self._category_ids)
            self._results += [{**row, "file_name": path.name} for row in rows]

    def write_results(self, path):
        """Write all that was found so far as COCO's results, each with its "file_name" too."""
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(self._results) + "\n")
