"""Hostile bodies get a 4xx, soon and without memory, and the next good request is answered right.

All 10,000: `python -m tests.serving.fuzz`.
"""

import socket

import pytest

from keras_seg.serving import Limits
from tests.serving.fuzz import fuzz
from tests.serving.toy_server import ask, bytes_request, drawn, encoded, running

pytestmark = pytest.mark.tf_only

PREDICT = "/v1/models/toy:predict"


def test_hostile_bodies(port):
    report = fuzz(port, 170, check_every=34)
    assert report.failures == []
    assert report.bodies == 170
    assert report.slowest < 20


def test_a_body_beyond_the_limit_is_not_read(toy):
    with running({"toy": toy}, Limits(body_bytes=10_000)) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\n"
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 413")
        # Without a length it comes in chunks.
        status, answer = ask(port, PREDICT, iter([b"x" * 9000] * 3), "POST")
        assert (status, list(answer)) == (413, ["error"])
        assert ask(port, PREDICT, bytes_request(encoded(drawn(5, 5))))[0] == 200


def test_a_body_that_does_not_come_is_given_up(toy):
    with running({"toy": toy}, Limits(read_seconds=0.3)) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(
                f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: 90\r\n\r\nabc".encode()
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 408")
        assert ask(port, PREDICT, bytes_request(encoded(drawn(5, 5))))[0] == 200


def test_bodies_that_arrive_together_have_a_limit_too(toy):
    limits = Limits(body_bytes=1000_000, body_bytes_in_flight=1000_000, read_seconds=20)
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n".encode()
    with running({"toy": toy}, limits) as port, socket.create_connection(("127.0.0.1", port), 20) as first:
        first.sendall(head)
        # Until the first has been taken up, the second may pass.
        for _ in range(100):
            status, answer = ask(port, PREDICT, bytes_request(encoded(drawn(5, 5))))
            if status == 503:
                break
        assert status == 503
        assert "as much as it can hold" in answer["error"]
