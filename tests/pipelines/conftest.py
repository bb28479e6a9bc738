# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Folders of tiny models of Unpair-Seg."""

import pytest
import torch

from hfseg import (
    UnpairSegForMaskGeneration,
    UnpairSegForOpenVocabularySegmentation,
    UnpairSegImageProcessor,
    UnpairSegProcessor,
)
from unpairseg_inputs import tiny_tokenizer
from unpairseg_models import tiny_config


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    torch.manual_seed(0)
    config = tiny_config(points_per_side=4)
    image_processor = UnpairSegImageProcessor(size={"longest_edge": 64}, score_threshold=0.0, threshold=0.0)
    UnpairSegForMaskGeneration(config).save_pretrained(root / "masks")
    image_processor.save_pretrained(root / "masks")
    UnpairSegForOpenVocabularySegmentation(config).save_pretrained(root / "open")
    UnpairSegProcessor(image_processor, tiny_tokenizer()).save_pretrained(root / "open")
    return root
