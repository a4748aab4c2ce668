"""The commands of `keras-seg`, thin: they parse, call the library, and say what came of it."""
