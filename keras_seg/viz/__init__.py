"""Pictures: class maps and instances over images, panels beside the truth with a legend, learning curves."""

from keras_seg.viz.curves import curve_chart, learning_curves
from keras_seg.viz.detections import detection_grid, detection_overlay
from keras_seg.viz.overlays import color_mask, instance_overlay, overlay
from keras_seg.viz.panels import grid, legend, panel, picture_grid
from keras_seg.viz.png_file import save_png

__all__ = [
    "color_mask",
    "curve_chart",
    "detection_grid",
    "detection_overlay",
    "grid",
    "instance_overlay",
    "learning_curves",
    "legend",
    "overlay",
    "panel",
    "picture_grid",
    "save_png",
]
