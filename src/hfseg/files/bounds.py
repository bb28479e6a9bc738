# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Bounds on the counts of configurations: what is beyond them is a mistake or an attack, and would take all memory.

They are the same for a `config.json`, which is checked before anything is built, and for a configuration that is made
in Python. A name counts by its end: `num_attention_heads` and `encoder_attention_heads` are heads.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["LARGEST_NUMBER", "check_counts", "problem_of_number"]

# Ends of the names of counts, and the largest that is taken; the first that fits counts.
BOUNDS: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"(layers?|depths?|blocks?|stages|heads|iterations)$"), 1024),
    (re.compile(r"(points_per_side|size_divisor|stride|patch_size|block_size|window_size|kernel_size)$"), 4096),
    (
        re.compile(r"(^|_)(height|width|shortest_edge|longest_edge|max_height|max_width|image_size|region_sizes)$"),
        16_384,
    ),
    (
        re.compile(
            r"(hidden_sizes?|feature_size|neck_sizes|stem_sizes|dim|dims|channels|width|widths|rank|feedforward)$"
        ),
        65_536,
    ),
    (re.compile(r"((num|max)_queries|num_\w+_queries|num_masks|num_instances|num_register_tokens)$"), 100_000),
    (re.compile(r"(chunk_size|num_points|timesteps)$"), 1_000_000),
    (re.compile(r"(vocab_size|max_position_embeddings|num_labels)$"), 10_000_000),
)
LARGEST_NUMBER = 10**12


def problem_of_number(name: str, value: float) -> str | None:
    """Says what is wrong with a number of a configuration, by the last part of its dotted name; None if nothing."""
    if isinstance(value, float) and not math.isfinite(value):
        return "it must be finite"
    last = name.rpartition(".")[2]
    limit = next((limit for pattern, limit in BOUNDS if pattern.search(last)), None)
    if limit is not None and not -1 <= value <= limit:
        return f"it must be between 0 and {limit}"
    if abs(value) > LARGEST_NUMBER:
        return f"it must be within {LARGEST_NUMBER:.0e}"
    return None


def check_counts(values: Mapping[str, Any], name: str = "") -> None:
    """Checks the numbers of a configuration, also in lists, dictionaries and nested configurations.

    Args:
        values: Fields by name, before anything is built from them.
        name: Put in front of the names in messages.

    Raises:
        ValueError: A number is not finite, or a count beyond its bound.
    """
    for key, value in values.items():
        _check(value, f"{name}.{key}" if name else str(key), 0)


def _check(value: Any, name: str, depth: int) -> None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        problem = problem_of_number(name, value)
        if problem is not None:
            shown = f"{value:.3g}" if abs(value) > LARGEST_NUMBER else value
            raise ValueError(f"{name}={shown} is no setting of a model: {problem}.")
    elif depth > 8:
        return
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if key not in ("id2label", "label2id"):
                _check(part, f"{name}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)) and len(value) < 10_000:
        for part in value:
            _check(part, name, depth + 1)
    elif hasattr(value, "model_type") and hasattr(value, "__dict__"):
        _check({key: part for key, part in vars(value).items() if not key.startswith("_")}, name, depth + 1)
