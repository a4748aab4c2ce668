"""Errors that become an HTTP status and TF Serving's JSON, `{"error": "..."}`."""


class RequestError(Exception):
    """A request that is answered with an error.

    Args:
        status: int. The HTTP status, as TF Serving chooses it: 400 for what the client did wrong, 404 for a
            model or version that is not there, 503 for what may work later.
        message: str. What was wrong; it is sent to the client.
    """

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status
        self.message = message


def invalid(message):
    """The client's mistake: 400."""
    return RequestError(400, message)


def not_found(message):
    """No such model, version or path: 404."""
    return RequestError(404, message)


def unavailable(message):
    """Too much at once, or not ready: 503. The same request may succeed later."""
    return RequestError(503, message)


def shorten(value, length=200):
    """A value of the client's as text for a message; TF Serving repeats it whole, however long."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= length else f"{text[:length]}..."
