"""A small HTTP server of exported models that speaks TF Serving's REST protocol, for want of it.

Needs the extra `serve`. Nothing of Keras is imported: what is served is a SavedModel.
"""

from keras_seg.serving.application import make_application
from keras_seg.serving.limits import Limits

__all__ = ["Limits", "make_application"]
