"""What Prometheus reads: how many requests, how long, how large the batches, how many wait."""

from keras_seg.utils.optional import import_optional

# Seconds, from a small image on a fast card to a queue that is full.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counters of one server, in a registry of their own.

    Attributes:
        requests: counter by model, method ("predict", "status", "metadata", "none") and HTTP code.
        seconds: histogram of seconds from the request's first byte to its answer, by model; predictions only.
        batch_images: histogram of images per run of the model.
        batch_seconds: histogram of seconds per run of the model.
        waiting: gauge of images that wait.
        version: gauge of the version that answers, by model.
    """

    def __init__(self):
        prometheus = import_optional("prometheus_client", "The server's metrics", "serve")
        self.registry = prometheus.CollectorRegistry()
        self._generate = prometheus.generate_latest
        self.content_type = prometheus.CONTENT_TYPE_LATEST

        def metric(kind, name, text, labels=(), **options):
            return kind(f"keras_seg_{name}", text, labels, registry=self.registry, **options)

        counter, gauge, histogram = prometheus.Counter, prometheus.Gauge, prometheus.Histogram
        labels = ("model", "method", "code")
        self.requests = metric(counter, "requests", "Requests answered", labels)
        self.seconds = metric(histogram, "request_seconds", "Time to answer", ("model",), buckets=_SECONDS)
        sizes = (1, 2, 4, 8, 16, 32, 64)
        self.batch_images = metric(histogram, "batch_images", "Images per run", ("model",), buckets=sizes)
        self.batch_seconds = metric(histogram, "batch_seconds", "Time per run", ("model",), buckets=_SECONDS)
        self.waiting = metric(gauge, "waiting_images", "Images that wait", ("model",))
        self.version = metric(gauge, "model_version", "Version that answers", ("model",))

    def render(self):
        """bytes, Prometheus's text format."""
        return self._generate(self.registry)
