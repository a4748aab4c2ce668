"""What one request, and all of them together, may cost the server."""

import dataclasses

from keras_seg.utils.validation import check_integer, check_number

_MEBIBYTE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds that keep memory and time finite whatever is sent.

    Attributes:
        connections: int. Most open connections; one beyond them gets a 503 and is closed.
        body_bytes: int. Largest body of a request, bytes, after decompression; beyond it 413.
        body_bytes_in_flight: int. Of all requests from their first byte to the model's answer; beyond it 503.
        image_pixels: int. Largest image, height times width, as its header says; beyond it 400, before
            anything is decoded. The network's memory grows with it.
        batch_images: int. Most images of one request, and of the requests that are run together.
        batch_pixels: int. Most pixels of one request, and of the requests that are run together.
        waiting_images: int. Most images that wait for the model; beyond it 503.
        response_values: int. Most numbers in one JSON answer; beyond it 400.
        read_seconds: float. For a client to send its body; beyond it 408.
        answer_seconds: float. From the whole body to the answer; beyond it 504.
    """

    connections: int = 1024
    body_bytes: int = 32 * _MEBIBYTE
    body_bytes_in_flight: int = 256 * _MEBIBYTE
    image_pixels: int = 1 << 22
    batch_images: int = 8
    batch_pixels: int = 1 << 23
    waiting_images: int = 64
    response_values: int = 8_000_000
    read_seconds: float = 30.0
    answer_seconds: float = 60.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int:
                check_integer(field.name, value)
            else:
                check_number(field.name, value, minimum=0.001)
