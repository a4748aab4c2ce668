"""One toy model and one server of it for all tests that only ask."""

import pytest

pytest.importorskip("aiohttp", reason="the server needs the extra `serve`")
pytest.importorskip("orjson", reason="the server needs the extra `serve`")
pytest.importorskip("prometheus_client", reason="the server needs the extra `serve`")

from tests.serving.toy_server import running, write_toy  # noqa: E402


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """Folder of a model with version 3."""
    folder = tmp_path_factory.mktemp("served") / "toy"
    write_toy(folder / "3")
    return folder


@pytest.fixture(scope="session")
def port(toy):
    with running({"toy": toy}) as port:
        yield port
