# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Class scores of a model's outputs."""

import pytest
import torch
from transformers.utils import ModelOutput

from hfseg.inference import output_scores


def test_outputs_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="class scores need 'logits'"):
        output_scores(ModelOutput(boxes=torch.zeros(1)), (4, 4), [(4, 4)], [(4, 4)])
