"""Which processors multiply bfloat16 faster than float32, by what Linux says of them."""

import pytest

from keras_seg.ops.fast import processor

INTEL = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sse2 avx2 avx512f {}\nbugs\t\t: mds\n"
AMD = INTEL.replace("GenuineIntel", "AuthenticAMD")
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (INTEL.format("avx512_bf16 amx_bf16 amx_tile"), True),
        (INTEL.format("avx512_bf16"), False),
        (INTEL.format(""), False),
        (AMD.format("avx512_bf16"), True),
        (AMD.format(""), False),
        (ARM, True),
        ("", True),
    ],
)
def test_the_flags_say(description, expected, tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text(description)
    monkeypatch.setattr(processor, "_DESCRIPTION", path)
    assert processor.multiplies_bfloat16_faster.__wrapped__() is expected


def test_where_nothing_is_said_it_is_taken_for_faster(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "_DESCRIPTION", tmp_path / "missing")
    assert processor.multiplies_bfloat16_faster.__wrapped__()
