"""A one-page book for tests: one of everything that a chapter may hold."""

import nbformat

MARKDOWN = """# 4. A demo

```{prf:theorem} Twins
:label: theorem-demo

Every rate loss has one, see {eq}`eq-response`, {prf:ref}`theorem-demo` and {ref}`exercise-demo`.
```

$$
\\varepsilon(k) = k
$$ (eq-response)

```{exercise} The peak
:label: exercise-demo

Where?
```
"""

GATE = """```{solution-start} exercise-demo
:class: dropdown
```"""

CODE = [
    "from snnbook import neuron\nfrom snnbook.book import check, explore, figure, show, style",
    "def line(ax, m, loss, x):\n"
    "    ax.plot([0, m, 4], [0, x, 1])\n"
    "    ax.set(xlim=(0, 4), ylim=(0, 1), title=loss)\n\n\n"
    "explore(line, alt='m = {m}, {loss}, x = {x:.1f}', labels={'m': 'spikes m'}, start={'m': 2},\n"
    "        m=(0, 4), loss=['counting', 'tet'], x=(0, 1, 0.5), caption='Watch τ_m.', play='m')",
    "show(neuron.eps)",
    "figure(lambda ax: ax.plot([1, 2], **style.LOSSES['tet'].line()), alt='A line that rises.', "
    "caption='Less < more.')",
    "print(f'{neuron.eps(1, neuron.NeuronParameters()):.6f}')",
]


def notebook():
    """The demo, never run."""
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell(MARKDOWN), *map(v4.new_code_cell, CODE)]
    cells += [
        v4.new_markdown_cell(GATE),
        v4.new_code_cell("print(2 + 2)"),
        v4.new_markdown_cell("```{solution-end}\n```"),
    ]
    for place, cell in enumerate(cells):
        cell.id = f"cell-{place}"
    return v4.new_notebook(cells=cells)
