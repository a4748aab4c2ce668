import numpy as np
import pytest

from keras_seg.utils.validation import (
    bad_argument,
    check_choice,
    check_integer,
    check_number,
    check_pair,
    check_rank,
)

pytestmark = pytest.mark.tf_only


def test_message_names_argument_expected_received_and_fix():
    error = bad_argument("size", "positive", -3, "Take 3.")
    assert str(error) == "`size` must be positive. Received: size=-3. Take 3."


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: check_choice("up", "cubic", ("a", "b")), ValueError, r"one of 'a', 'b'. Received"),
        (lambda: check_choice("learn", 1, (False, True, "some")), ValueError, r"one of False, True, 'some'"),
        (lambda: check_choice("count", True, (0, 1)), ValueError, r"one of 0, 1. Received: count=True"),
        (lambda: check_integer("n", 0), ValueError, r"`n` must be an integer of at least 1. Received: n=0"),
        (lambda: check_integer("n", 2.0), TypeError, r"n=2.0"),
        (lambda: check_integer("n", True), TypeError, r"n=True"),
        (lambda: check_number("x", 2, 0, 1), ValueError, r"within \[0, 1\]. Received: x=2"),
        (lambda: check_number("x", float("nan"), 0, 1), ValueError, r"x=nan"),
        (lambda: check_number("x", "1"), TypeError, r"x='1'"),
        (lambda: check_pair("size", (1, 2, 3)), TypeError, r"a pair \(height, width\)"),
        (lambda: check_pair("size", (1, 0)), ValueError, r"at least 1"),
        (lambda: check_rank("boxes", (2, 5, 1), 2, "(K, 4)"), ValueError, r"must be \(K, 4\), 2 axes"),
    ],
)  # fmt: skip
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_good_values_come_back_plain():
    assert check_integer("n", np.int64(3)) == 3
    assert check_number("x", np.float32(0.5), 0, 1) == 0.5
    assert check_pair("size", 4) == (4, 4)
    assert check_pair("size", [4, 5]) == (4, 5)
    assert check_choice("up", "a", ("a", "b")) == "a"
