"""Forms of the ops for files that ONNX Runtime, OpenVINO and LiteRT run, see `dispatch.for_export`.

Operations that all of them know, and neither gradients nor conditions, for which they have none or that they
cannot convert.
"""

from keras_seg.ops.fast.dispatch import Native
from keras_seg.ops.pooled_maxima import largest_cells
from keras_seg.ops.unpooled_places import place_by_window

NATIVE = {
    "max_pool_with_argmax": Native(largest_cells),
    # An index outside its own window is left out: no pool gives one, and a scatter would be needed.
    "max_unpool": Native(place_by_window),
}
