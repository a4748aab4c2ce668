"""Options behind a path, `DIR,key=value,key=value`: what a format is told beside where its files are."""

from keras_seg.data.errors import DataError


def split_options(text, format_name, known):
    """Take a path and its options apart.

    Args:
        text: str, `PATH` or `PATH,key=value,...`.
        format_name: str, for messages.
        known: dict of str to callable. The options, each with what makes its value of the text.

    Returns:
        (path, dict of the options that were given).

    Raises:
        DataError: an option is unknown, or its value is not of its kind.
    """
    path, *parts = text.split(",")
    options = {}
    for part in parts:
        key, _, value = part.partition("=")
        if key not in known or not value:
            raise DataError(
                f"`{part}` is no option of {format_name}. Write {format_name}:PATH,KEY=VALUE with one of "
                f"{', '.join(known)}."
            )
        try:
            options[key] = known[key](value)
        except ValueError as error:
            raise DataError(f"`{part}` of {format_name} has no value of its kind: {error}.") from error
    return path, options
