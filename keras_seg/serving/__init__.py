"""A small HTTP server of exported models that speaks TF Serving's REST protocol, for want of it.

Needs the extra `serve`. What is served is a SavedModel: Keras has no part in answering.
"""

from keras_seg.serving.application import make_application
from keras_seg.serving.limits import Limits

__all__ = ["Limits", "make_application"]
