"""Native forms of the ops on JAX, where they beat the portable ones."""

import jax

from keras_seg.ops.fast.dispatch import Native
from keras_seg.ops.suppression_tiles import kept_by_tiles

NATIVE = {
    "add_rows": Native(lambda table, index, rows: table.at[index].add(rows, mode="promise_in_bounds")),
    # The portable form, compiled once for a shape: outside jit a loop is compiled again for every call.
    "nms": Native(jax.jit(kept_by_tiles, static_argnames=("iou_threshold", "max_output"))),
}
