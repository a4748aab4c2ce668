"""Native forms of the ops: the only place with backend code.

`dispatch` chooses by the tables `NATIVE` of the backends' modules, whose conditions say where a form serves.
"""

from keras_seg.ops.fast.devices import on_accelerator
from keras_seg.ops.fast.dispatch import Native, for_export, native_form, portable, refuse_symbolic

__all__ = ["Native", "for_export", "native_form", "on_accelerator", "portable", "refuse_symbolic"]
