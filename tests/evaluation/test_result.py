# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Results of an evaluation: units of their numbers."""


def test_units_follow_from_the_key():
    from hfseg.evaluation.result import shown, unit_of

    expected = {
        "dice": "%",
        "dice_anterior": "%",
        "assd": "mm",
        "hd95_posterior": "mm",
        "mean_angle": "degrees",
        "mse": "",
        "num_samples": "",
        "first_num_without_referent": "",
        "first_miou": "%",
        "masks_generated": "",
    }
    assert {key: unit_of(key) for key in expected} == expected
    assert [shown(key, 12.0) for key in ("hd95_posterior", "num_masks", "first_oiou")] == ["12 mm", "12.0", "12.00 %"]
