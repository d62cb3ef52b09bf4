"""Tables and figures from the records: fixed texts, the records' numbers, links that lead somewhere."""

import re

import pytest

from snnbook import results
from snnbook.book import explore, figure, growing, on_file, sheet
from snnbook.book.filed import ROOT, to_record, to_run
from snnbook.results import paper, render, tables

from .browser import HTML, missing


def test_a_sheet_has_a_fixed_text_and_a_table(baking):
    table = tables.build("3", on_file())
    found = sheet(table)._repr_mimebundle_()
    assert found["text/plain"] == f"from the records: {table.title}"
    assert found["text/html"].count("<tr>") == len(table.rows) + 1


def test_a_live_sheet_is_a_widget():
    found = sheet(tables.build("4", []))._repr_mimebundle_()
    assert found["text/plain"].startswith("from the records: Table 4")
    assert any("widget-view" in kind for kind in found)


@pytest.mark.parametrize("mode", ["live", "baking"])
def test_a_growing_figure_keeps_its_text_whatever_it_shows(mode, line, request):
    request.getfixturevalue(mode)
    for value in (1, 7):
        inner = explore(line, alt=f"number {value}, m = {{m}}", m=(0, value))
        shown = growing(inner, "explore: a line")
        assert repr(shown) == "explore: a line"
        assert shown._repr_mimebundle_()["text/plain"] == "explore: a line"
    still = growing(figure(line, alt="number 7"), "figure: a line")._repr_mimebundle_()
    assert still["text/plain"] == "figure: a line"
    if mode == "baking":
        assert "number 7" in still["text/html"]


def test_links_to_runs_and_records():
    one = on_file()[0]
    assert to_run(one.name) == f"09_the_tables.html{render.anchor(one.name)}"
    assert (ROOT.parent / to_record(one.name)).exists()
    for result in on_file():
        assert to_record(result.name) == f"results/{result.file}"


def built(page):
    path = HTML / f"{page}.html"
    if not path.exists():
        missing("the book is not built: run make book first")
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "name"),
    [("09_the_tables", "3"), ("09_the_tables", "4"), ("10_deciding_early", "5"), ("09_the_tables", "runs")],
)
def test_the_book_shows_what_the_records_make(page, name):
    settings = {"link": to_record, "targets": True} if name == "runs" else {}
    assert sheet(tables.build(name, results.load(ROOT)), **settings).html() in built(page)


def test_where_the_runs_ended():
    """A table that chapter 9 makes itself: the records' last lines on one schedule; what has no run is missing."""
    page = built("09_the_tables")
    shown = re.search(r"The last epoch of each row.*?</table>", page, re.S)[0]
    cells = [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<td.*?</td>", shown, re.S)]
    by_title = {cells[i]: cells[i + 1 : i + 9] for i in range(0, len(cells), 9)}
    rows = [*paper.TABLES["3"], *(row for row in paper.TABLES["4"] if row.experiment != "fashion_mnist_ttfs")]
    assert list(by_title) == [row.title for row in rows]
    on_file = [r for r in results.load(ROOT) if r.counts]
    lengths = [{r.experiment.epochs for r in on_file if r.experiment.name == row.experiment} for row in rows]
    epochs = max(set().union(*lengths), key=lambda n: (sum(n in each for each in lengths), n))
    for row in rows:
        ran = [r for r in on_file if r.experiment.name == row.experiment]
        records = [r.record for r in ran if r.experiment.epochs == epochs]
        ends = [record.last for record in records]
        wanted = ["missing"] * 8
        if ends:
            ratios = [e.positive_ratio for e in ends]  # None where no spike had an e
            ratio = "–" if None in ratios else f"{sum(ratios) / len(ratios):+.2f}"
            sums = [[sum(getattr(e, f"grad_{k}sum") for e in r.epochs) for k in ("", "abs_")] for r in records]
            since_start = sum(signed / absolute for signed, absolute in sums) / len(sums)
            accuracies = [100 * sum(getattr(e, f"{s}_accuracy") for e in ends) / len(ends) for s in ("train", "test")]
            begun, ended = (sum(sum(r.epochs[k].output_thresholds) for r in records) for k in (0, -1))
            spikes = sum(sum(e.firing_rates[-1]) for e in ends) / len(ends)
            wanted = [
                str(epochs),
                str(len(ends)),
                *(f"{a:.1f}" for a in accuracies),
                ratio,
                f"{since_start:+.2f}",
                f"{ended / begun:.2f}",
                f"{spikes:.2f}",
            ]
        assert by_title[row.title] == wanted


def test_every_link_from_a_table_leads_somewhere():
    found = [link for page in ("09_the_tables", "10_deciding_early") for link in LINK.findall(built(page))]
    assert len(found) >= len(on_file())
    for file, fragment in found:
        target = HTML / file
        assert target.is_file(), file
        assert not fragment or f'id="{fragment}"' in target.read_text(encoding="utf-8"), fragment


LINK = re.compile(r'<td class="snn-\w+"><a href="([^"#]+)#?([^"]*)"')
