"""Images and their objects from memory, as a Source."""

from keras_seg.data import Source


class ObjectSource(Source):
    """Args: items, a list of (image, Objects); names, of the objects' classes."""

    def __init__(self, items, names=("square", "disc", "ring")):
        super().__init__("memory", [f"item{i}" for i in range(len(items))], ("background", *names))
        self._items = items

    @property
    def object_names(self):
        return self.class_names[1:]

    def _read(self, row):
        image, objects = self._items[row]
        return image, objects.class_map(image.shape[:2])

    def read_objects(self, index):
        return self._items[self._rows[index]]
