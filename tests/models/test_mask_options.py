# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Options of mask decoders: what is allowed at the edges, and what is refused."""

import pytest
from huggingface_hub.errors import StrictDataclassError

from hfseg.models.mask_options import MaskDecoderConfig


def options(**fields):
    plain = {"query_selection": "pixels", "position_code": "normalized", "num_queries": 10, "num_learned_queries": 4}
    return MaskDecoderConfig(**{**plain, "max_queries": None, "heat_threshold": 0.05, **fields})


@pytest.mark.parametrize(
    "fields",
    [{}, {"num_learned_queries": 1}, {"num_learned_queries": 9}, {"max_queries": 5}, {"heat_threshold": 0.0},
     {"query_selection": "learned", "num_learned_queries": 0, "heat_threshold": 7.0}],
)  # fmt: skip
def test_edges_are_allowed(fields):
    options(**fields)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"query_selection": "all"}, "must be one of learned, pixels"),
        ({"position_code": "sine"}, "must be one of normalized, pixels"),
        ({"num_learned_queries": 0}, "at least 1 and below num_queries=10"),
        ({"num_learned_queries": 10}, "at least 1 and below num_queries=10"),
        ({"max_queries": 4}, "must be above num_learned_queries=4"),
        ({"heat_threshold": 1.0}, "at least 0 and below 1"),
        ({"heat_threshold": -0.1}, "at least 0 and below 1"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        options(**fields)


def test_sizes_fit():
    for fields, message in (
        ({"hidden_size": 60}, "multiple of num_attention_heads=8"),
        ({"feature_size": 48}, "of 32"),
    ):
        with pytest.raises(StrictDataclassError, match=message):
            options(**fields)


def test_stuff_classes_are_classes():
    options(num_labels=3)
    options(num_labels=3, stuff_class_ids=[0, 2])
    for stuff in ([3], [-1, 0]):
        with pytest.raises(StrictDataclassError, match=r"outside the 3 classes of id2label \(0\.\.2\)"):
            options(num_labels=3, stuff_class_ids=stuff)
