"""Argument checks with one style of message: the argument, what was expected, what came, what to do."""

import math
import numbers


def bad_argument(name, expected, received, fix=None, error=ValueError):
    """Build the library's one kind of argument error.

    Args:
        name: str. The argument as the user wrote it.
        expected: str. What it should have been, as a phrase: "a positive integer".
        received: the value that came; shown by `repr`.
        fix: str or None. What to do about it, as a sentence.
        error: the exception class, `ValueError` or `TypeError`.

    Returns:
        The exception, to be raised by the caller.
    """
    text = f"`{name}` must be {expected}. Received: {name}={received!r}."
    return error(f"{text} {fix}" if fix else text)


def check_choice(name, value, choices, fix=None):
    """Return `value` if it is one of `choices`, else raise a ValueError that lists them."""
    # 1 equals True, but nobody who writes the one means the other.
    if not any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in choices):
        listed = ", ".join(repr(choice) for choice in choices)
        raise bad_argument(name, f"one of {listed}", value, fix)
    return value


def check_integer(name, value, minimum=1, fix=None):
    """Return `value` as an int if it is an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise bad_argument(name, f"an integer of at least {minimum}", value, fix, TypeError)
    if value < minimum:
        raise bad_argument(name, f"an integer of at least {minimum}", value, fix)
    return int(value)


def check_number(name, value, minimum=None, maximum=None, fix=None):
    """Return `value` as a float if it is a number within [minimum, maximum]."""
    low = "-inf" if minimum is None else minimum
    high = "inf" if maximum is None else maximum
    expected = f"a number within [{low}, {high}]"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise bad_argument(name, expected, value, fix, TypeError)
    # Written so that NaN fails too: every comparison with it is false.
    if not (minimum is None or value >= minimum) or not (maximum is None or value <= maximum):
        raise bad_argument(name, expected, value, fix)
    return float(value)


def check_positive(name, value, fix=None):
    """Return `value` as a float if it is a finite number above 0."""
    value = check_number(name, value, fix=fix)
    if not 0 < value < math.inf:
        raise bad_argument(name, "a positive number", value, fix)
    return value


def check_pair(name, value, minimum=1, fix=None):
    """Return `(height, width)` from an integer, which stands for both, or a pair of integers."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        value = (value, value)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise bad_argument(name, "an integer or a pair (height, width)", value, fix, TypeError)
    return tuple(check_integer(name, side, minimum, fix) for side in value)


def check_rank(name, shape, rank, layout, fix=None):
    """Raise unless `shape` has `rank` axes; `layout` spells them out, as in "(N, H, W, C)"."""
    if len(shape) != rank:
        raise bad_argument(f"{name}.shape", f"{layout}, {rank} axes", tuple(shape), fix)
