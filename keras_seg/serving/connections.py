"""The listening socket: as many connections at once as the limits allow, and a polite no to the others.

Requests are bounded where they are read. A connection costs memory before that, up to 128 KiB of what its
client has sent, and a server that is short of processor time is not quick enough to close what piles up.
"""

import asyncio
import json

_LINGER_SECONDS = 1.0


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

    return await asyncio.get_running_loop().create_server(lambda: _Door(server, most), host, port)


class _Door(asyncio.Protocol):
    """Hands a connection on to the server, or answers 503 without reading the request.

    It decides when the connection is made, not when a protocol is asked for: of many that arrive together all
    are asked for before the first is made, and counted.
    """

    def __init__(self, server, most):
        self._server = server
        self._most = most

    def connection_made(self, transport):
        if len(self._server.connections) < self._most:
            handler = self._server()
            transport.set_protocol(handler)
            handler.connection_made(transport)
        else:
            self._refuse(transport)

    def _refuse(self, transport):
        message = f"All {self._most} connections of this server are in use; try again later."
        body = json.dumps({"error": message}).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        transport.write(head.encode() + body)
        # Closing while the request is still arriving would reset the connection, and the client would see
        # that in place of the answer. What arrives is dropped: `data_received` of the base does nothing.
        if transport.can_write_eof():
            transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, transport.abort)
