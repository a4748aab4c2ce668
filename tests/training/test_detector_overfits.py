"""Mask R-CNN learns eight annotated photographs by heart, from random weights: the whole chain at work."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_seg import mask_rcnn
from keras_seg.data import load_instances, open_source
from keras_seg.data.run_lengths import mask_to_rle
from keras_seg.inference import evaluate_instances

SIDE, STEPS = 128, 260
# Of the three photographs, which COCO and VOC files annotate: each once as it is and once as in a mirror, and
# parts of two. So no two images are alike.
VIEWS = [("coco", 0, "whole"), ("coco", 1, "whole"), ("coco", 2, "whole"), ("voc", 0, "mirrored")]
VIEWS += [("voc", 1, "mirrored"), ("voc", 2, "mirrored"), ("coco", 1, "left"), ("coco", 2, "right")]


@pytest.mark.slow
@pytest.mark.timeout(2400)  # JAX's convolutions are slow on CPUs
def test_mask_ap_of_eight_images(real_data, tmp_path):
    source = open_source(eight_photographs(real_data, tmp_path))
    assert len(source) == 8 and sum(len(source.read_objects(index)[1]) for index in range(8)) == 32
    model = mask_rcnn(
        len(source.object_names),
        (SIDE, SIDE, 3),
        backbone="resnet18_fpn",
        pyramid_filters=64,
        head_units=128,
        mask_filters=64,
        anchor_sizes=(8, 16, 32, 64, 96),
        canonical_size=SIDE,
        rpn_samples=64,
        roi_samples=32,
        pre_nms=(200, 100),
        max_proposals=(100, 50),
        max_detections=20,
    )
    batches = load_instances(
        source, image_size=SIDE, batch_size=8, augment=None, shuffle=False, repeat=True, max_objects=8
    )
    images, truth = next(iter(batches))
    truth = {name: np.array(values) for name, values in truth.items()}
    rate = keras.optimizers.schedules.CosineDecay(0.0, STEPS - 20, warmup_target=2e-3, warmup_steps=20)
    model.compile(keras.optimizers.AdamW(rate, 1e-4, global_clipnorm=10.0))
    model.fit(np.array(images), truth, batch_size=8, epochs=STEPS, verbose=0)
    scores = evaluate_instances(model, source, batch_size=8, progress=False)
    assert scores["mask_ap"] >= 0.9, scores
    assert scores["box_ap"] >= 0.9, scores


def eight_photographs(real_data, folder):
    """Write the images and their annotations as COCO has them; returns the spec."""
    coco = open_source(f"coco:{real_data / 'coco_sample' / 'annotations.json'}")
    voc = open_source(f"voc:{real_data / 'voc_sample'}")
    assert coco.object_names == voc.object_names
    images, annotations = [], []
    for number, (name, index, view) in enumerate(VIEWS):
        image, objects = {"coco": coco, "voc": voc}[name].read_objects(index)
        masks = (objects.full_mask(row, image.shape[:2]) for row in range(len(objects)))
        layers = [_seen(image, view), *(_seen(255 * mask.astype("uint8"), view) for mask in masks)]
        height, width = layers[0].shape[:2]
        Image.fromarray(layers[0]).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": height, "width": width})
        for label, mask in zip(objects.labels, layers[1:], strict=True):
            mask = mask > 127
            # What a part of a photograph leaves of the others' objects is too little to be one.
            if mask.sum() >= 30:
                rle = mask_to_rle(mask, (0, 0), mask.shape)
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": number,
                        "category_id": int(label),
                        "segmentation": {**rle, "counts": rle["counts"].decode()},
                        "iscrowd": 0,
                    }
                )
    used = sorted({annotation["category_id"] for annotation in annotations})
    categories = [{"id": label, "name": coco.object_names[label]} for label in used]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(data))
    return f"coco:{folder / 'annotations.json'},{folder}"


def _seen(image, view):
    """The view's part of an image, its longer side `SIDE` pixels."""
    third = image.shape[1] // 3
    parts = {
        "whole": np.s_[:],
        "mirrored": np.s_[::-1],
        "left": np.s_[: 2 * third],
        "right": np.s_[:third:-1],
    }
    part = image[:, parts[view]]
    scale = SIDE / max(part.shape[:2])
    size = round(part.shape[1] * scale), round(part.shape[0] * scale)
    return np.asarray(Image.fromarray(np.ascontiguousarray(part)).resize(size, Image.Resampling.BILINEAR))
