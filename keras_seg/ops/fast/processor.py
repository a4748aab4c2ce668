"""What this machine's processor is good at, where its flags say so."""

import functools
import re
from pathlib import Path

_DESCRIPTION = Path("/proc/cpuinfo")


@functools.cache
def multiplies_bfloat16_faster():
    """Whether products of bfloat16 take less time than float32's; True where it is not known.

    Of x86 those with AMX do, and AMD's with AVX-512 BF16. Intel's without AMX do not: measured on a Xeon with
    AVX-512 BF16 (docs/results.md); older ones have no such instruction and convert.
    """
    try:
        return _faster(_DESCRIPTION.read_text())
    except OSError:
        return True


def _faster(description):
    flags = re.search(r"^flags\s*:(.*)$", description, re.MULTILINE)
    if not flags:
        return True
    known = flags[1].split()
    return "amx_bf16" in known or ("avx512_bf16" in known and "AuthenticAMD" in description)
