"""Exercises in the page: the verdicts that the build makes, and the form that compares, in Chromium without a book."""

import base64
import json
import re

import pytest

from snnbook.book.exercises import Exercise, load, verdict
from snnbook.book.exercises.page import Page, ask, form, placeholder, values
from snnbook.book.exercises.page import _parts as parts
from snnbook.book.exercises.page import _values as values_of

from . import browser
from .browser import BOOK

EXERCISES = list(load().values())
UNTYPABLE = {("2.4", "an empty window forgotten")}
"""Mistakes that raise in the cases that the page asks for, so that nobody can type their value."""

every_exercise = pytest.mark.parametrize("which", EXERCISES, ids=lambda which: which.number)


def typed_solution(which):
    """The solution by fields."""
    page = which.page
    return values_of(page.of or which.solution, page.cases) if page.cases else parts(which.solution, page.fields)


def typed_mistakes(which):
    """The typical mistakes by fields, each under its name; None where it cannot be typed."""
    page = which.page
    if page.cases:
        return {name: values_of(slip, page.cases) for name, slip in (page.mistakes or which.mistakes).items()}
    return {name: parts(slip, page.fields) for name, slip in which.mistakes.items()}


def fits(wanted, typed):
    if isinstance(wanted, str):
        return wanted == typed
    if isinstance(wanted[0], list):
        return isinstance(typed, list) and len(wanted) == len(typed) and all(map(fits, wanted, typed))
    return not isinstance(typed, (list, str)) and wanted[0] <= typed <= wanted[1]


def is_right(made, typed):
    return any(all(map(fits, entry["answer"], typed)) for entry in made["right"])


@every_exercise
def test_a_page_can_ask_every_exercise(which):
    made = form(which)
    assert is_right(made, typed_solution(which))
    assert made["right"][0]["text"].startswith("right")
    assert made["other"].startswith("not yet\nhint: ")
    for name, slip in typed_mistakes(which).items():
        if slip is None:
            assert (which.number, name) in UNTYPABLE
            continue
        assert not is_right(made, slip), name
        texts = [entry["text"] for entry in made["known"] if all(map(fits, entry["answer"], slip))]
        assert texts, name
        assert all(re.match(r"not yet: .+\nhint: .+", text) for text in texts)


@every_exercise
def test_the_solution_cannot_be_read_at_a_glance(which):
    html = placeholder(which)
    folded = re.search(r'data-form="([\w+/=]+)"', html)[1]
    assert json.loads(base64.b64decode(folded)) == json.loads(json.dumps(form(which)))
    assert re.sub(r'"[\w+/=]{40,}"', "", html).count(str(which.solution)) == 0
    assert len(html) < 5000


def test_verdicts_are_the_checkers_own():
    made = form(load()["6.1"])
    said = [entry["text"] for entry in made["known"]]
    assert said == [verdict(load()["6.1"], slip) for slip in load()["6.1"].mistakes.values()]
    assert form(load()["1.2"])["right"][0]["text"] == verdict(load()["1.2"], 10)


def test_a_checker_that_accepts_a_range_is_asked_for_its_edges():
    (low, high) = form(load()["1.2"])["right"][0]["answer"][0]
    assert verdict(load()["1.2"], low).startswith("right")
    assert verdict(load()["1.2"], high).startswith("right")
    assert 9.9 < low < 10
    assert 16 < high < 17
    answers = [entry["answer"] for entry in form(load()["2.3"])["right"]]
    assert [age for (age, _), _ in answers] == [3, 4]
    for (age, _), (low, high) in answers:
        for weight, word in ((low, "right"), (high, "right"), (0.99 * low, "not yet"), (1.01 * high, "not yet")):
            assert verdict(load()["2.3"], (age, weight)).startswith(word), (age, weight)


def test_a_mistake_near_the_solution_stays_a_mistake():
    (low, high) = form(load()["10.2"])["right"][0]["answer"][0]
    assert low > 0.2
    assert high > 0.2039


def test_a_mistake_that_is_none_stops_the_build():
    wrong = Exercise("97.1", "", lambda answer: None, 1, {"none": 2}, ask("x"))
    with pytest.raises(ValueError, match="is no mistake"):
        form(wrong)


def test_a_page_names_the_cases():
    assert [each["label"] for each in form(load()["4.1"])["fields"]] == ["target = 5 gives", "target = 9 gives"]
    assert values((1, 2)) == Page(cases=((1, 2),))


LINKS = "".join(f'<a href="{name}.html">{name}</a>' for name in ("one", "two", "page"))
PREDICTION = """<div class="admonition tip predict"><p class="admonition-title">Predict first</p><ol>
<li><p>Does it fire? <em>(yes / no)</em></p></li><li><p>How often? It <em>must</em> be few. <em>(a number)</em></p></li>
</ol></div>
<div class="admonition note reveal"><p class="admonition-title">And now look</p>
<ol><li>Yes.</li><li>2.</li></ol></div>"""


@pytest.fixture
def page(chromium, tmp_path):
    """A page with the forms of all exercises and a prediction, on the disk."""
    of_pages = {"one": ["1.1", "1.2"], "two": ["2.1"], "page": []}
    text = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>page</title>
    <nav class="bd-links">{LINKS}</nav>{PREDICTION}
    <script>window.snnExercises = {json.dumps(of_pages)};</script>
    <script src="{(BOOK / "_static" / "answers.js").as_uri()}"></script>
    {"".join(f'<div class="admonition">{placeholder(which)}</div>' for which in EXERCISES)}"""
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    seen = browser.Visit(chromium, path.as_uri())
    yield seen
    assert seen.asked == []
    assert seen.complaints == []
    seen.context.close()


def written(part):
    """A part of an answer, as a reader may type it."""
    if isinstance(part, (list, tuple)):
        return ", ".join(map(written, part))
    return part if isinstance(part, str) else f"{part:.6g}"


def answer(seen, number, typed):
    """Type an answer into an exercise's form; its verdict comes back."""
    box = seen.page.locator(f'.snn-answer[data-exercise="{number}"]')
    for field, part in zip(box.locator(".snn-field").all(), typed, strict=True):
        if field.locator("input[type=radio]").count():
            field.locator(f'input[value="{part}"]').check()
        else:
            field.locator("input").fill(written(part))
    box.get_by_role("button", name="Check").press("Enter")
    return box.get_by_role("status").inner_text()


@pytest.mark.browser
def test_every_solution_is_accepted_and_every_mistake_is_known(page):
    for which in EXERCISES:
        said = answer(page, which.number, typed_solution(which))
        assert said == f"✓ {form(which)['right'][0]['text']}", which.number
        for name, slip in typed_mistakes(which).items():
            if slip is not None:
                said = answer(page, which.number, slip)
                known = [f"✗ {each['text']}" for each in form(which)["known"] if all(map(fits, each["answer"], slip))]
                assert said in known, (which.number, name)


FRIENDLY = r"^(this page reads|type your answer first|choose one of the words first)"


WRITTEN = [
    ("1.2", "10,5", "✓ right"),
    ("1.2", " 1 2 ", "✓ right"),
    ("1.2", "24/2", "✓ right"),
    ("1.2", "\u2212 3", "✗ not yet\nhint"),
    ("2.1", "\u22120,08", "✓ right"),
    ("2.1", "-2/25", "✓ right"),
    ("2.1", "\u2013.0803", "✓ right"),
    ("2.1", "-0.082", "✗ not yet\nhint"),
    ("1.1", "3;5", "✓ right"),
    ("1.1", "[3, 5]", "✓ right"),
    ("1.1", "3,5", "✓ right"),
    ("1.1", "3 5", "✓ right"),
    ("1.1", "3, 5, 8", "✗ not yet: at step 8 the neuron does not fire"),
    ("1.1", "5", "✗ not yet: at step 3 the neuron fires"),
]
NONSENSE = ["", "  ", "forty-two", "1/0", "1/2/3", "1e999", "<b>", "2 apples", "--3"]
FRIENDLY = r"^(this page reads|type your answer first|choose one of the words first)"


@pytest.mark.browser
def test_numbers_as_people_write_them(page):
    for number, typed, said in WRITTEN:
        assert answer(page, number, [typed]).startswith(said), typed


@pytest.mark.browser
def test_nonsense_gets_a_friendly_line(page):
    for number in ("1.1", "1.2"):
        for nonsense in NONSENSE:
            assert re.match(FRIENDLY, answer(page, number, [nonsense])), nonsense
    assert page.page.evaluate("localStorage.getItem('snnbook-answers')") is None


@pytest.mark.browser
def test_one_right_value_of_two_is_said(page):
    assert answer(page, "4.1", [6, 7]).startswith("✗ not yet: right is only where target = 5\nhint: ")
    assert answer(page, "7.1", [[2 / 3, 1 / 6], [1, 1]]).startswith("✗ not yet: right is only where gamma = 2")
    assert answer(page, "4.1", [7, 7]).startswith("✗ not yet\nhint: ")


@pytest.mark.browser
def test_answers_outlast_a_reload_until_they_are_forgotten(page):
    answer(page, "1.1", [[3, 5]])
    answer(page, "1.2", [3.5])
    answer(page, "9.3", ["undecided"])
    assert page.page.locator("nav").inner_text().split("\n")[0].startswith("one 1 of 2")
    page.page.reload()
    assert page.page.locator('[data-exercise="1.1"] input').input_value() == "3, 5"
    assert page.page.locator('[data-exercise="1.1"] [role=status]').inner_text().startswith("✓ right")
    assert page.page.locator('[data-exercise="1.2"] [role=status]').inner_text().startswith("✗ not yet")
    assert page.page.locator('[data-exercise="9.3"] input:checked').input_value() == "undecided"
    assert page.page.locator(".snn-done").all_text_contents() == [" 1 of 2 exercises answered"]

    page.page.once("dialog", lambda dialog: dialog.dismiss())
    page.page.get_by_role("button", name="Forget my answers").click()
    assert page.page.locator(".snn-done").count() == 1
    page.page.once("dialog", lambda dialog: dialog.accept())
    page.page.get_by_role("button", name="Forget my answers").click()
    for _ in range(2):
        assert page.page.locator(".snn-done").count() == 0
        assert page.page.locator('[data-exercise="1.1"] input').input_value() == ""
        assert page.page.locator("input:checked").count() == 0
        assert "".join(page.page.locator(".snn-verdict").all_inner_texts()) == ""
        page.page.reload()


@pytest.mark.browser
def test_a_guess_is_kept_and_shown_beside_the_answer(page):
    box = page.page.locator(".predict")
    box.get_by_role("button").click()
    assert box.get_by_role("status").inner_text().startswith("Choose first")
    box.get_by_label("no", exact=True).check()
    box.locator("input[type=text]").fill("3")
    box.get_by_role("button", name="That is my guess").click()
    for _ in range(2):
        assert page.page.locator(".reveal li").all_inner_texts() == ["Your guess: no\n\nYes.", "Your guess: 3\n\n2."]
        assert box.locator("input:enabled").count() == 0
        assert box.locator("em").all_inner_texts() == ["must"]
        page.page.reload()


@pytest.mark.browser
def test_a_window_without_storage_still_answers(page):
    page.page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('private'); }})")
    page.page.reload()
    assert answer(page, "1.1", [[3, 5]]).startswith("✓ right")
    assert page.page.locator(".snn-done").all_text_contents() == [" 1 of 2 exercises answered"]
    page.page.once("dialog", lambda dialog: dialog.accept())
    page.page.get_by_role("button", name="Forget my answers").click()
    assert page.page.locator(".snn-done").count() == 0


@pytest.mark.browser
@pytest.mark.parametrize("stored", ["{", "3", "null", '{"1.1": 5, "1.2": {"typed": "x"}}'])
def test_what_another_version_stored_breaks_nothing(page, stored):
    page.page.evaluate("stored => localStorage.setItem('snnbook-answers', stored)", stored)
    page.page.reload()
    assert answer(page, "1.1", [[3, 5]]).startswith("✓ right")
