# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Templates of prompts."""

import pytest

from hfseg.processing.prompt_templates import TEMPLATES
from hfseg.processing.vocabulary import templates_of


def test_templates():
    assert [len(TEMPLATES[name]) for name in ("simple", "vild", "imagenet", "imagenet_vild")] == [5, 14, 80, 94]
    assert len(set(TEMPLATES["imagenet"])) == 80
    assert "a photo of a medium {}." in TEMPLATES["vild"] and "itap of my {}." in TEMPLATES["imagenet"]
    assert templates_of(["the {}"]) == ("the {}",)
    for wrong in ("clip", ["no place"], []):
        with pytest.raises(ValueError, match="emplates"):
            templates_of(wrong)
