"""Which item comes when, and with which random key: all that a pipeline's samples depend on.

So the same seed gives the same batches however many threads work, and a run that was killed after `start`
samples goes on with the very batches it would have had.
"""

import os

import tensorflow as tf

from keras_seg.utils.validation import bad_argument, check_integer


def check_order(batch_size, seed, start, repeat):
    """Raise unless these make sense together; the arguments are those of `load`."""
    if batch_size is not None:
        check_integer("batch_size", batch_size)
    check_integer("seed", seed, 0)
    if check_integer("start", start, 0) and not repeat:
        raise bad_argument("start", "0 unless repeat=True", start)


def sample_order(count, *, seed, shuffle, repeat, start=0):
    """The positions of a pipeline: which item, and the key of its random changes.

    Args:
        count: int. Items of the data set; a pass is as many positions.
        seed: int, for the order and the keys.
        shuffle: bool. A new permutation of all items in each pass.
        repeat: bool. True goes on without end. False is one pass, and each iteration is another one.
        start: int. Positions to leave out, with `repeat` only.

    Returns:
        tf.data.Dataset of (index, key): int64 scalar and int64 (2,).
    """
    return _endless(count, seed, start, shuffle) if repeat else _single_pass(count, seed, shuffle)


def batches(order, sample, batch_size, drop_remainder):
    """Samples of an order, made in parallel and kept in order.

    Args:
        order: tf.data.Dataset of (index, key).
        sample: callable of index and key, traced as a graph, that gives the tensors of one sample.
        batch_size: int or None, which gives single samples.
        drop_remainder: bool. Leave out a last batch that is not full.
    """
    dataset = order.map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if batch_size is not None:
        dataset = dataset.batch(batch_size, drop_remainder=drop_remainder)
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(_options())


def _endless(count, seed, start, shuffle):
    """(item, key of its augmentation) at every position from `start` on; a pass is `count` positions."""

    def place(position):
        index = position % count
        if shuffle:
            index = _shuffled(index, count, (seed, position // count))
        return index, tf.stack([tf.constant(seed, "int64"), position])

    return tf.data.Dataset.counter(start).map(place)


def _single_pass(count, seed, shuffle):
    """The same for one pass; each iteration draws another number, which makes another pass."""

    def one_pass(number):
        def place(position):
            index = _shuffled(position, count, (seed, number)) if shuffle else position
            return index, tf.stack([number, position])

        return tf.data.Dataset.range(count).map(place)

    numbers = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)
    return numbers.flat_map(one_pass).apply(tf.data.experimental.assert_cardinality(count))


def _shuffled(index, count, key):
    seed = tf.stack([tf.cast(part, "int64") for part in key])
    return tf.random.experimental.index_shuffle(index, seed, tf.constant(count - 1, "int64"))


def _options():
    options = tf.data.Options()
    options.deterministic = True
    # One thread for each operation and one operation for each core: samples are the parallel work here, and
    # the training step needs the cores too.
    options.threading.max_intra_op_parallelism = 1
    options.threading.private_threadpool_size = os.cpu_count() or 1
    return options
