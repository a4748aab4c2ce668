"""U-Net in a dozen lines: train on drawn shapes, save, export for TF Serving."""

import keras

from keras_seg import losses, metrics, unet
from keras_seg.data import shapes
from keras_seg.export import export_model

train, held_out = shapes(200, batch_size=8, shuffle=True, augment="light"), shapes(40, seed=1, batch_size=8)
model = unet(num_classes=4, filters=16, depth=3, normalization="batch")
rate = keras.optimizers.schedules.CosineDecay(2e-3, decay_steps=8 * len(train))
model.compile(keras.optimizers.Adam(rate), losses.CrossEntropy(), metrics=[metrics.ConfusionMatrix(4)])
model.fit(train, validation_data=held_out, epochs=8, verbose=2)
model.save("shapes_unet.keras")
names = ("background", "circle", "rectangle", "triangle")
print(export_model(model, "served/shapes_unet", class_names=names))
