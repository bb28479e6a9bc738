# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Results that a limit has cut: their number is not the number of objects, and whoever counts is told so."""

from typing import Any

from torch import Tensor

# From this share on nearly every query of a model is taken, and further objects find none.
FULL = 0.95


def full_queries(outputs: Any, threshold: float, segments: list[int]) -> list[str]:
    """Tells of each image whether the model had hardly a query left.

    Args:
        outputs: With `class_queries_logits`, logits of K classes and no-object, `(B, Q, K + 1)`; those of a model with
            queries from pixels say how many are learned, which need not find anything.
        threshold: Smallest class probability of a query that takes part.
        segments: Number of segments of each image; where they are few compared with the queries, nothing is computed.

    Returns:
        Per image what is wrong and what helps, or an empty text.
    """
    class_logits, messages = outputs.class_queries_logits, [""] * len(segments)
    number, learned = class_logits.shape[1], getattr(outputs, "num_learned_queries", 0)
    for index in (index for index, count in enumerate(segments) if 4 * count >= number):
        best = class_logits[index].float().softmax(-1).max(-1)
        taken = int(((best.indices < class_logits.shape[-1] - 1) & (best.values > threshold)).sum())
        if taken >= FULL * (number - learned):
            messages[index] = (
                f"{taken} of the model's {number} queries found something, so there may be more objects than these "
                f"{segments[index]} segments. Segment in tiles (--tile, Options.tile); with queries from pixels "
                "raise max_queries of config.json."
            )
    return messages


def cut_instances(class_logits: Tensor, threshold: float, looked_at: int) -> list[str]:
    """Tells of each image whether more (query, class) pairs reach the threshold than are looked at.

    Args:
        class_logits: Logits of K classes and no-object, `(B, Q, K + 1)`.
        threshold: Smallest score; at 0 nothing is counted, as average precision wants, and all texts are empty.
        looked_at: Pairs that are looked at.
    """
    messages = [""] * len(class_logits)
    if threshold <= 0 or class_logits[0, :, :-1].numel() <= looked_at:
        return messages
    reaching = class_logits.float().softmax(-1)[..., :-1] >= threshold
    for index, reached in enumerate(reaching.sum((1, 2)).tolist()):
        if reached > looked_at:
            messages[index] = (
                f"{reached} instances have a class probability of {threshold:g} or more, and the best {looked_at} are "
                "looked at. Raise num_instances of the image processor (preprocessor_config.json)."
            )
    return messages


def cut_boxes(found: list[dict[str, Tensor]], threshold: float, limit: int, possible: int) -> list[str]:
    """Tells of each image whether as many boxes reach the threshold as are given at most.

    Args:
        found: Boxes per image.
        threshold: Smallest score; at 0 all texts are empty.
        limit: Boxes at most.
        possible: (query, class) pairs of an image.
    """
    cut = [threshold > 0 and possible > limit and len(boxes["scores"]) >= limit for boxes in found]
    message = (
        f"{limit} boxes reach the threshold of {threshold:g}, as many as are given at most, so there may be more "
        "objects. Raise num_detections, or crop the image."
    )
    return [message if one else "" for one in cut]
