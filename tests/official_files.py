# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Files of datasets as they are published, of one small size."""

import numpy as np
from PIL import Image

SIZE = (4, 6)


def photo(path, size=SIZE, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, dtype=np.uint8)).save(path)


def label(path, values, dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, dtype=dtype)).save(path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def rows_of(*values):
    """A map of SIZE whose rows hold these values."""
    return np.repeat(np.array(values)[:, None], SIZE[1], axis=1)


def by_class(item):
    return {segment["id"]: segment["category_id"] for segment in item["segments_info"]}
