"""The one error of the data package: something is wrong with a user's files, and here is what to do."""


class DataError(ValueError):
    """A file, folder or data specification that cannot be used; the message names it and says what to do."""
