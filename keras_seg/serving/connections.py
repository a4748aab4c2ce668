"""The listening socket: as many connections at once as the limits allow, and a polite no to the others.

Requests are bounded where they are read. A connection costs memory before that, what its client has sent up
to twice `READ_BYTES`, and a server that is short of processor time does not close in time what piles up.
"""

import asyncio
import contextlib
import json

READ_BYTES = 1 << 16
# An idle connection is closed after it, so that idle clients do not keep others out for long.
KEEP_ALIVE_SECONDS = 75.0
_LINGER_SECONDS = 10.0
_MOST_REFUSALS = 128  # that linger, each with a descriptor
_OTHER_FILES = 128 + _MOST_REFUSALS  # descriptors of the process besides the connections
_BACKLOG = 128


def connections_possible(most):
    """The connections that the process may have: `most`, or fewer where the system's limit on files is lower.

    Beyond that limit `accept` fails, and nobody is told anything. The soft limit is raised first.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return most
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = max(1, min(most, soft - _OTHER_FILES))
    return most


async def listen(server, host, port, most):
    """Accept connections for an `aiohttp.web.Server`.

    Args:
        server: the `aiohttp.web.Server` of a runner, which makes a protocol for each connection.
        host: str. Address to listen on.
        port: int. 0 takes a free one.
        most: int. Connections that are open at once; one beyond them gets a 503 and is closed.

    Returns:
        `asyncio.Server`. Its `close` ends the listening and leaves open connections as they are.
    """

    refusals = set()

    def door():
        return _Door(server, most, refusals)

    return await asyncio.get_running_loop().create_server(door, host, port, backlog=_BACKLOG)


class _Door(asyncio.Protocol):
    """Hands a connection on to the server, or answers 503 without reading the request.

    It decides when the connection is made, not when a protocol is asked for: of many that arrive together all
    are asked for before the first is made, and counted.
    """

    def __init__(self, server, most, refusals):
        self._server = server
        self._most = most
        self._refusals = refusals

    def connection_made(self, transport):
        if len(self._server.connections) < self._most:
            handler = self._server()
            transport.set_protocol(handler)
            handler.connection_made(transport)
        elif len(self._refusals) < _MOST_REFUSALS:
            self._refuse(transport)
        else:
            transport.abort()

    def connection_lost(self, error):
        self._refusals.discard(self)

    def _refuse(self, transport):
        message = f"All {self._most} connections of this server are in use; try again later."
        body = json.dumps({"error": message}).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._refusals.add(self)
        transport.write(head.encode() + body)
        # Closing while the request is still arriving would reset the connection, and the client would see
        # that in place of the answer. What arrives is dropped: `data_received` of the base does nothing.
        if transport.can_write_eof():
            transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, transport.abort)
