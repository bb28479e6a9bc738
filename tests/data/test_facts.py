# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a folder holds, as choices of a training need it."""

import nibabel
import numpy as np
import pytest

from data.layout_folders import CLASS_MAPS, INSTANCES, VOLUMES, squares
from hfseg.data.facts import facts_of


@pytest.mark.parametrize("fill", [*INSTANCES, *CLASS_MAPS, *VOLUMES], ids=lambda fill: fill.__name__)
def test_every_layout_is_understood(fill, tmp_path):
    pytest.importorskip("nibabel" if fill in VOLUMES else "datasets")
    fill(tmp_path / "data")
    facts = facts_of(str(tmp_path / "data"))
    assert facts.kind == ("objects" if fill in INSTANCES else "classes" if fill in CLASS_MAPS else "volumes")
    assert facts.images > 0 and facts.held_out > 0 and facts.names
    assert (facts.height, facts.width) == ((32, 32) if fill in VOLUMES else (48, 64))


def test_facts_are_counted(tmp_path):
    squares(tmp_path / "data", [1, 1, 1, 1, 12, 1, 1, 1, 1, 1], side=6, brightness=80)
    facts = facts_of(str(tmp_path / "data"))
    assert (facts.height, facts.width) == (64, 80) and facts.images + facts.held_out == 10
    assert facts.sides == (6.0, 6.0, 6.0) and facts.dark
    assert facts.objects[1] == 12 or facts.images == 8  # the crowded image may be the held-out one
    squares(tmp_path / "bright", [8, 9], side=9)
    assert not facts_of(str(tmp_path / "bright")).dark


@pytest.mark.parametrize(("lowest", "modality"), [(-1000, "CT"), (0, "MR")])
def test_volumes_without_a_description(lowest, modality, tmp_path):
    """Modality from the values, classes from the masks or `classes.json`."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        for number in range(2):
            voxels = rng.uniform(lowest, 300, (24, 40, 6)).astype(np.float32)
            labels = np.zeros(voxels.shape, dtype=np.uint8)
            labels[4:9, 4:9], labels[12:15] = 1, 2
            for kind, array in (("images", voxels), ("labels", labels)):
                file = tmp_path / kind / split / f"{split}{number}.nii.gz"
                nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 3.0, 1.0])), file)
    facts = facts_of(str(tmp_path))
    assert (facts.kind, facts.modality, facts.images, facts.held_out) == ("volumes", modality, 2, 2)
    assert facts.names == ("background", "label_1", "label_2") and {facts.height, facts.width} == {24, 40}
    one_more = nibabel.load(tmp_path / "labels/val/val1.nii.gz")
    voxels = np.asarray(one_more.dataobj).copy()
    voxels[20, 30] = 3  # a class that a single volume has, of those to learn from or not
    nibabel.save(nibabel.Nifti1Image(voxels, one_more.affine), tmp_path / "labels/val/val1.nii.gz")
    assert facts_of(str(tmp_path)).names[-1] == "label_3"
    for file in (tmp_path / "labels").rglob("*.nii.gz"):
        white = (np.asarray(nibabel.load(file).dataobj) > 0).astype(np.uint8) * 255
        nibabel.save(nibabel.Nifti1Image(white, np.diag([1.0, 1.0, 3.0, 1.0])), file)
    assert facts_of(str(tmp_path)).names == ("background", "label_1")
    (tmp_path / "classes.json").write_text('["air", "liver", "spleen"]')
    assert facts_of(str(tmp_path)).names == ("air", "liver", "spleen")
