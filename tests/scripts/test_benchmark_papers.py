# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The page of the papers: what is cheap is computed again and stands in it; nothing is silently absent."""

from benchmarks import papers
from benchmarks.papers import PAGE, PAPERS, Row, deviation, render, shown

TEXT = PAGE.read_text(encoding="utf-8")


def lines_of(rows: list[Row]) -> list[str]:
    return render({"x": rows}).split("|---|---|---|---|---|---|\n")[1].splitlines()


def test_the_page_has_every_paper_and_says_what_it_lacks():
    for title in PAPERS:
        assert f"## {title}" in TEXT
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| item")]
    assert len(rows) > 150
    for line in rows:
        item, command, ours, _, difference, note = (cell.strip() for cell in line.strip("|").split(" | "))
        assert item and (command != "-" or note != "-")
        assert (ours == "-") == (difference == "not covered"), line
        assert difference != "differs", line
        if difference == "not covered":
            assert len(note) > 8, f"{item}: no reason"


def test_schedules_on_the_page_are_the_recipes():
    for line in lines_of(papers.proscale_schedules()):
        assert line in TEXT
    for row in papers.proscale_schedules():
        assert abs(row.ours / row.printed - 1) < 0.005, row


def test_medical_rows_are_those_of_the_code():
    for line in lines_of(papers.meddensevit_rows()):
        assert line in TEXT


def test_every_figure_of_cost_is_near_the_printed_one():
    """Within 2 %: the windows of MViTv2-T, which the paper does not state, are the farthest."""
    shares = [cell.strip() for line in TEXT.splitlines() for cell in line.split("|") if cell.strip().endswith(" %")]
    assert len(shares) > 100 and all(abs(float(share.split()[0])) < 2 for share in shares)


def test_cells():
    assert [shown(value) for value in (None, 1e-4, 2048, 12.345, 0.1, "bf16")] == [
        "-",
        "0.0001",
        "2,048",
        "12.35",
        "0.100",
        "bf16",
    ]
    assert deviation(Row("a", "c", 101.0, 100.0)) == "+1.00 %"
    assert [deviation(Row("a", "c", ours, "> 2000")) for ours in (1892.0, 2000.0, 2001.0)] == [
        "below",
        "below",
        "within",
    ]
    assert deviation(Row("a", "c", "fp16", "bf16")) == "differs" and deviation(Row("a", "", None, 1.0)) == "not covered"
