# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Checks of what configurations of mask-classification models say about the mask decoder.

Shared by PRO-SCALE and UniSegFormer: the options that help with small, look-alike objects, all off by default.
"""

from collections.abc import Sequence
from typing import Any

QUERY_SELECTIONS = ("learned", "pixels")
POSITION_CODES = ("normalized", "pixels")


def validate_mask_decoder(config: Any) -> None:
    """Checks the options of the mask decoder.

    Raises:
        ValueError: Naming the value, what it must be, and the fix.
    """
    for name, choices in (("query_selection", QUERY_SELECTIONS), ("position_code", POSITION_CODES)):
        if getattr(config, name) not in choices:
            raise ValueError(f"{name}={getattr(config, name)!r} is not known: it must be one of {', '.join(choices)}.")
    if config.query_selection == "learned":
        return
    if not 1 <= config.num_learned_queries < config.num_queries:
        raise ValueError(
            f"num_learned_queries={config.num_learned_queries} must be at least 1 and below num_queries="
            f"{config.num_queries}, which counts learned queries and those from pixels together."
        )
    if config.max_queries is not None and config.max_queries <= config.num_learned_queries:
        raise ValueError(
            f"max_queries={config.max_queries} must be above num_learned_queries={config.num_learned_queries}."
        )
    if not 0 <= config.heat_threshold < 1:
        raise ValueError(f"heat_threshold={config.heat_threshold} must be at least 0 and below 1, for example 0.05.")


def validate_stuff_classes(stuff_class_ids: Sequence[int] | None, num_labels: int) -> None:
    """Checks that stuff classes are classes.

    Raises:
        ValueError: One is not.
    """
    stuff = stuff_class_ids or ()
    if any(not 0 <= class_id < num_labels for class_id in stuff):
        raise ValueError(
            f"stuff_class_ids={list(stuff)} has ids outside the {num_labels} classes of id2label (0..{num_labels - 1})."
        )
