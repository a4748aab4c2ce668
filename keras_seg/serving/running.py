"""Runs the application until it is told to stop: listens, says where, and lets accepted requests finish."""

import asyncio
import contextlib
import signal

from keras_seg.serving.application import make_application
from keras_seg.serving.connections import (
    KEEP_ALIVE_SECONDS,
    READ_BYTES,
    connections_possible,
    listen,
)
from keras_seg.serving.limits import Limits
from keras_seg.utils.optional import import_optional


def run_server(models, host="127.0.0.1", port=8501, limits=None, poll_seconds=5.0, stop_seconds=60.0):
    """Serve until SIGINT or SIGTERM. No new connection is taken then, and what was accepted is answered.

    Args:
        models: dict of name to folder.
        host: str. Address to listen on.
        port: int. 0 takes a free one.
        limits: Limits, or None for the defaults.
        poll_seconds: float. See `make_application`.
        stop_seconds: float. Time that accepted requests have when the server is stopped.
    """
    # Before the models are loaded, which takes long.
    import_optional("aiohttp.web", "The server", "serve")
    limits = limits or Limits()
    application = make_application(models, limits, poll_seconds)
    asyncio.run(_serve(application, models, host, port, limits.connections, stop_seconds))


async def _serve(application, models, host, port, connections, stop_seconds):
    from aiohttp import web

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no such handlers; there Ctrl-C raises KeyboardInterrupt.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        application,
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=stop_seconds,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        read_bufsize=READ_BYTES,
    )
    await runner.setup()
    listener = None
    try:
        listener = await listen(runner.server, host, port, connections_possible(connections))
        address, real_port = listener.sockets[0].getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        for name in models:
            print(f"http://{shown}:{real_port}/v1/models/{name}:predict")
        print(f"page: http://{shown}:{real_port}/  metrics: /metrics  Ctrl-C stops it", flush=True)
        await stop.wait()
        print("stopping: accepted requests are answered first", flush=True)
    finally:
        if listener:
            listener.close()
        await runner.cleanup()
