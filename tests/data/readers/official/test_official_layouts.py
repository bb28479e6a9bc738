# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Names of official datasets, and where they are looked for."""

import pytest

from hfseg.data import load_official, official_names
from hfseg.data.readers.official import OFFICIAL, default_root


def test_names_and_default_places(tmp_path, monkeypatch, voc):
    assert set(official_names()) == set(OFFICIAL)
    with pytest.raises(ValueError, match=r"'coco_panoptik' is not known; did you mean 'coco_panoptic'\?"):
        load_official("coco_panoptik", tmp_path)
    with pytest.raises(ValueError, match="no labeled split 'test'; must be one of train, validation"):
        load_official("cityscapes_panoptic", tmp_path, "test")
    monkeypatch.setenv("HFSEG_DATASETS", str(voc))
    assert default_root("pascal_voc") == voc / "VOCdevkit/VOC2012" and len(load_official("pascal_voc")) == 1
    with pytest.raises(FileNotFoundError, match=r"folder of camvid does not exist: .*camvid \(from \$HFSEG_DATASETS"):
        load_official("camvid")
    assert all(spec.folder and spec.about and spec.splits for spec in OFFICIAL.values())
