"""Mask R-CNN in ten lines: train on drawn shapes, score as COCO does, save, and draw what it finds."""

import keras

from keras_seg import mask_rcnn
from keras_seg.data import load_instances, open_source
from keras_seg.inference import evaluate_instances, predict_instances
from keras_seg.viz import detection_grid, save_png

data, held_out = open_source("shapes:200"), open_source("shapes:count=20,seed=1")
train = load_instances(data, image_size=128, batch_size=4, augment="light", shuffle=True, repeat=True)
small = {"anchor_sizes": (16, 32, 64, 96, 128), "canonical_size": 64, "pre_nms": (200, 200)}
small |= {"max_proposals": (200, 100), "roi_samples": 64, "pyramid_filters": 64, "head_units": 128}
model = mask_rcnn(3, (128, 128, 3), backbone="resnet18_fpn", mask_filters=32, **small)
model.compile(keras.optimizers.AdamW(1e-3, global_clipnorm=10.0))
model.fit(train, steps_per_epoch=75, epochs=4, shuffle=False, verbose=2)
model.save("shapes_mask_rcnn.keras")
print({name: round(score, 3) for name, score in evaluate_instances(model, held_out).items() if "ap" in name})
items = [held_out.read_objects(index) for index in range(4)]
found = predict_instances(model, [image for image, _ in items])
rows = [(*item, some) for item, some in zip(items, found, strict=True)]
save_png("shapes_mask_rcnn.png", detection_grid(rows, data.object_names))
