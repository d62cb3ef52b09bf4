"""The list of mutations stays true to the source: every text stands once, every check exists, none is a no-op."""

import pytest

from .mutations import MUTATIONS, ROOT


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.file}-{m.old[:30]}")
def test_mutation_applies(mutation):
    assert (ROOT / "snnbook" / mutation.file).read_text().count(mutation.old) == 1
    assert mutation.new != mutation.old
    file, _, name = mutation.check.partition("::")
    assert (ROOT / file).exists()
    assert not name or f"def {name}(" in (ROOT / file).read_text()
