"""`keras-seg serve` as a process: where it listens, what it says, and how it stops."""

import concurrent.futures
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from keras_seg.cli.main import main
from tests.serving.toy_server import ask, bytes_request, drawn, encoded

pytestmark = pytest.mark.tf_only


@contextlib.contextmanager
def served(*arguments):
    """The process and its port."""
    command = [sys.executable, "-m", "keras_seg", "serve", *map(str, arguments), "--port", "0"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        try:
            line = process.stdout.readline()
            assert "127.0.0.1" in line, line + process.stderr.read()
            yield process, int(line.split("127.0.0.1:")[1].split("/")[0])
        finally:
            process.kill()


def test_it_listens_on_loopback_and_finishes_what_it_has_taken(toy):
    # Large enough that the stop comes before the answers.
    body = bytes_request(*[encoded(drawn(600, 600))] * 4)
    with served(f"named={toy}") as (process, port), concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert ask(port, "/v1/models/named")[0] == 200
        others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in others - {"127.0.0.1"}:
            with socket.socket() as outside:
                assert outside.connect_ex((address, port)) != 0
        answers = [pool.submit(ask, port, "/v1/models/named:predict", body) for _ in range(6)]
        deadline = time.monotonic() + 60
        while 'method="predict"' not in ask(port, "/metrics")[1]:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        statuses = [answer.exception() or answer.result()[0] for answer in answers]
        # A connection that was not taken yet is refused; what was taken is answered.
        assert statuses.count(200) >= 1
        assert all(status == 200 or isinstance(status, ConnectionError) for status in statuses), statuses
        assert "accepted requests are answered first" in process.stdout.read()


def test_connections_beyond_the_limit_are_answered_503_and_closed(toy):
    body = bytes_request(encoded(drawn(600, 600)))  # larger than what a connection buffers
    with served(f"named={toy}", "--connections", "3") as (_, port), contextlib.ExitStack() as idle:
        for _ in range(3):
            idle.enter_context(socket.create_connection(("127.0.0.1", port)))
        for request in (None, body):
            status, answer = ask(port, "/v1/models/named" + (":predict" if request else ""), request)
            assert status == 503
            assert answer == {"error": "All 3 connections of this server are in use; try again later."}
        idle.close()
        deadline = time.monotonic() + 60
        while (status := ask(port, "/v1/models/named:predict", body)[0]) == 503:
            assert time.monotonic() < deadline
        assert status == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "No folder absent. Export a model first"),
        (["."], "must be a folder of versions"),
        (["a=.", "a=."], "Two models have the same name"),
        ([".", "--waiting-images", "0"], "`waiting_images` must be an integer of at least 1"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on files")
def test_fewer_connections_where_files_are_few():
    # In a process of its own: the limit, once lowered, stays.
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 400));"
        "from keras_seg.serving.connections import connections_possible as possible;"
        "print(possible(10), possible(1024), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["10", "144", "400"]
