import pytest

from keras_seg.utils.atomic import atomic_file, atomic_folder

pytestmark = pytest.mark.tf_only


def test_file_is_replaced_only_when_whole(tmp_path):
    path = tmp_path / "sub" / "model.bin"
    with atomic_file(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_temporary_file_keeps_the_suffix(tmp_path):
    with atomic_file(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras"
        temporary.write_text("x")


def test_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "versions" / "1"
    with pytest.raises(RuntimeError), atomic_folder(path) as temporary:
        (temporary / "file").write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with atomic_folder(path) as temporary:
        (temporary / "file").write_text("whole")
        assert not path.exists()
    assert (path / "file").read_text() == "whole"
    with pytest.raises(FileExistsError, match="exists already"), atomic_folder(path):
        pass
