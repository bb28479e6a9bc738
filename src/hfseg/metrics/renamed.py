# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Former keys of metrics, which recipes and results refuse with the new one."""

# Former names of metrics, each of which meant several numbers, and what they are called.
RENAMED_METRICS = {
    "overall_iou": "oiou",
    "first_overall_iou": "first_oiou",
    "first_mean_iou": "first_miou",
    **{
        f"{start}precision_at_{share}0": f"{start}precision@0.{share}"
        for start in ("", "first_")
        for share in range(5, 10)
    },
    "1-pt IoU": "one_point_oracle_iou",
    "1-box IoU": "one_box_oracle_iou",
    "mean_dice": "dice",
}
