# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tables of results: cells, columns, and where the numbers came from."""

import json

import pytest

from hfseg.inference.result_tables import format_cell, format_table, provenance, report


@pytest.mark.parametrize(
    "value, text",
    [(None, "-"), (3, "3"), ("a", "a"), (0.0, "0.000"), (0.00012, "1.2e-04"), (0.001, "0.001"), (-0.0004, "-4.0e-04"),
     (1.23456, "1.235"), (99.9994, "99.999"), (100.0, "100.00"), (-123.456, "-123.46"), (True, "True")],
)  # fmt: skip
def test_cells(value, text):
    assert format_cell(value) == text


def test_columns_are_all_that_occur_in_order_of_their_first_row():
    text = format_table([{"model": "a", "pq": 1.5}, {"pq": 22.25, "ms": 120.0}])
    assert text.splitlines() == [
        "| model |     pq |     ms |",
        "|------:|-------:|-------:|",
        "|     a |  1.500 |      - |",
        "|     - | 22.250 | 120.00 |",
    ]


def test_a_report_is_printed_and_written_with_its_origin(tmp_path, capsys):
    origin = provenance(["hfseg", "benchmark", "a folder"])
    assert origin["command"] == "hfseg benchmark 'a folder'" and origin["device"].startswith("cpu: ")
    assert set(origin["versions"]) == {"python", "torch", "transformers", "hfseg"} and "T" in origin["date"]
    report({"Speed": [{"ms": 1.0}]}, ["warm"], origin, str(tmp_path / "new" / "a.json"))
    printed = capsys.readouterr().out
    assert "Speed" in printed and "| 1.000 |" in printed and "- warm" in printed
    written = json.loads((tmp_path / "new" / "a.json").read_text())
    assert written["tables"] == {"Speed": [{"ms": 1.0}]} and written["command"] == origin["command"]
