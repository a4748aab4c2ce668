"""Trained models as files that other runtimes load: SavedModels that TF Serving takes as they are."""

from keras_seg.export.formats import export_model
from keras_seg.export.report import ExportError, ExportReport

__all__ = ["ExportError", "ExportReport", "export_model"]
