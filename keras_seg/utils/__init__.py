"""Argument checks, optional imports, atomic files, progress and colours: no Keras here."""
