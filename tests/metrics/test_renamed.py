# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Former keys of metrics lead to keys that there are."""

from hfseg.metrics import ReferringSegmentation
from hfseg.metrics.renamed import RENAMED_METRICS


def test_new_names_are_keys_of_metrics_and_old_ones_are_not():
    keys = ReferringSegmentation.shares | {"one_point_oracle_iou", "one_box_oracle_iou", "dice"}
    assert {new.removeprefix("first_") for new in RENAMED_METRICS.values()} <= keys
    assert not set(RENAMED_METRICS) & keys
