from bench.figures import FIGURES, Figure, Sample, at_least, at_most, percentile, rows_of, shown, table, times_postfix
from bench.options import Options

TWO = {"rate": Figure("msgs/s", times_postfix(3)), "cost": Figure("ms", at_most(1.5))}


def test_a_row_has_the_medians_and_their_ratio():
    samples = [Sample("rate", "ours", value) for value in (100, 900, 600)]
    samples += [Sample("rate", "Postfix", value) for value in (200, 100, 300)]
    (row,) = rows_of(samples, TWO)
    assert (row.ours, row.postfix, row.ratio, row.is_met, row.runs) == (600, 200, 3.0, True, 3)


def test_a_target_against_postfix_cannot_be_told_without_it():
    (row,) = rows_of([Sample("rate", "ours", 600)], TWO)
    assert row.ratio is None
    assert row.is_met is None


def test_a_target_that_is_missed_says_so():
    rows = rows_of([Sample("rate", "ours", 299), Sample("rate", "Postfix", 100), Sample("cost", "ours", 1.51)], TWO)
    assert [row.is_met for row in rows] == [False, False]


def test_limits_are_met_when_they_are_reached():
    assert at_most(6).is_met(6.0, None)
    assert at_least(98).is_met(98.0, None)
    assert not at_least(98).is_met(97.9, None)


def test_figures_of_postfix_alone_make_no_row():
    assert rows_of([Sample("rate", "Postfix", 100)], TWO) == []


def test_the_table_has_a_line_for_each_row_and_all_columns():
    text = table(rows_of([Sample("cost", "ours", 2.0), Sample("rate", "ours", 1234.5)], TWO)).splitlines()
    assert [cell.strip() for cell in text[0].split("|")] == ["figure", "ours", "Postfix", "ratio", "target", "met?"]
    assert [cell.strip() for cell in text[2].split("|")] == ["rate", "1,234 msgs/s", "-", "-", "≥ 3 x Postfix", ""]
    assert [cell.strip() for cell in text[3].split("|")] == ["cost", "2.00 ms", "-", "-", "≤ 1.5", "NO"]


def test_numbers_are_shown_with_three_digits():
    assert [shown(value) for value in (0.123, 1.5, 12.34, 123.4, 12345)] == ["0.12", "1.50", "12.3", "123", "12,345"]


def test_percentiles_are_values_that_occurred():
    values = list(range(100, 0, -1))
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7.0


def test_only_selects_by_any_part_of_a_name():
    options = Options(only=("LATENCY", "1 MB"))
    chosen = [name for name in FIGURES if options.wants([name])]
    assert len(options.selected("latency")) == 4
    assert "accept 1 MB, 1 session" in chosen
    assert "accept 1 KB, 1 session" not in chosen
    assert Options().wants(["anything"])
