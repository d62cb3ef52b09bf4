"""Sphinx extension of the book: how pages present themselves to browsers, search engines and people who arrive.

- The tab of the first page has the book's title once.
- Every page has a description and the tags of a social card; addresses are in them only where _config.yml has one.
- The footer of every page has version, licence and the way to cite.
- A page for addresses that do not exist, 404.html, needs no other file, because a server shows it at any depth.
- Where _config.yml has an address, there are a site map and a card's picture, and Sphinx itself adds canonical links.
"""

import html
import re
import textwrap
from importlib.metadata import version
from pathlib import Path
from xml.sax.saxutils import escape

import front
from docutils import nodes
from sphinx.application import Sphinx

from snnbook.book.matplotlib_quietly import Figure
from snnbook.book.themes import LIGHT

ABOUT = (
    "A spiking neuron says everything by when it fires. Six loss functions ask its spikes to come earlier or later; "
    "this book shows how, and what becomes of it, in pictures you can move."
)
LONGEST = 200
"""Letters of a description: about what search engines show."""

SUMMARY = re.compile(r"^After this chapter you can", re.I)
VIEWPORT = re.compile(r"<meta [^>]*viewport[^>]*>\s*")
CARD = "_static/card.png"
CITING = "how-to-cite"
ONE_PAGE = "singlehtml"
SITE_MAP = "sitemap.xml"
MISSING = "404.html"

INK = LIGHT["ink"]
SILENT = LIGHT["silent"]
BRAND = LIGHT["brand"]
EARLIER = LIGHT["earlier"]

TITLE_WIDTH = 12
"""Letters a line on the card."""

AFTER_THEME = 900
"""Event priority: the theme's handlers run at 500."""


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", present, priority=AFTER_THEME)
    app.connect("build-finished", write_pages_beside)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def present(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Give a page its title, description, card and footer."""
    root = app.config.root_doc
    if pagename == root:
        # The page's own title is the book's, which the template would add to it.
        context["docstitle"] = ""
    title = app.config.html_title if pagename == root else plain(context.get("title") or "")
    about = ABOUT if pagename == root or doctree is None else description(doctree, title)
    # The theme has a viewport of its own.
    tags = VIEWPORT.sub("", context.get("metatags", ""))
    context["metatags"] = tags + head(title, about, app.config.html_title, app.config.html_baseurl, pagename)
    context["theme_extra_footer"] = footer(how_to_cite(app, pagename), front.citation()["license"])


def plain(title: str) -> str:
    """Return a title without HTML."""
    return html.unescape(re.sub(r"<[^>]+>", "", title))


def description(doctree: nodes.document, title: str) -> str:
    """Return a page's description: what a chapter's reader can do after it, or the first paragraph."""
    paragraphs = [node for node in doctree.findall(nodes.paragraph) if node.astext().strip()]
    if not paragraphs:
        return f"{title}. {ABOUT}"
    first = paragraphs[0].astext()
    if SUMMARY.match(first):
        goals = next(iter(doctree.findall(nodes.bullet_list)), None)
        if goals is not None:
            first = f"{first} {' '.join(goal.astext() for goal in goals)}"
    return shortened(" ".join(first.split()))


def shortened(text: str) -> str:
    """Cut a text at the end of a word."""
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rpartition(" ")[0].rstrip(",;:") + " ..."


def head(title: str, about: str, site: str, address: str, page: str) -> str:
    """Write a page's tags for search engines and social cards.

    Args:
        title: of the page
        about: its description
        site: title of the book
        address: of the book, or nothing
        page: its name
    """
    card = {"og:type": "article", "og:title": title, "og:description": about, "og:site_name": site}
    if address:
        start = address.rstrip("/") + "/"
        card |= {"og:url": f"{start}{page}.html", "og:image": start + CARD, "og:image:alt": f"{site}: a spike, moved"}
    tags = [f'<meta name="description" content="{html.escape(about)}"/>']
    tags += [f'<meta property="{name}" content="{html.escape(value)}"/>' for name, value in card.items()]
    if address:
        tags.append('<meta name="twitter:card" content="summary_large_image"/>')
    return "\n".join(tags) + "\n"


def how_to_cite(app: Sphinx, pagename: str) -> str:
    """Return the address of the section on citing, from a page; "" where the book has none."""
    page, place = app.env.get_domain("std").anonlabels.get(CITING, ("", ""))
    if not page:
        return ""
    if app.builder.name == ONE_PAGE:
        return f"#{place}"
    return f"{app.builder.get_relative_uri(pagename, page)}#{place}"


def footer(citing: str, licence: str) -> str:
    """Write the footer's line: version, licence, and a link to the section on citing."""
    link = f' <a href="{citing}">How to cite</a>' if citing else ""
    return f"<p>Version {html.escape(version('snnbook'))}, {html.escape(licence)} licence.{link}</p>"


def write_pages_beside(app: Sphinx, exception: Exception | None) -> None:
    """Write 404.html, and the site map where the book has an address."""
    if exception is not None or app.builder.name != "html":
        return
    folder = Path(app.outdir)
    address = app.config.html_baseurl
    logo = Path(app.srcdir, app.config.html_logo or "")
    drawing = logo.read_text(encoding="utf-8") if logo.is_file() else ""
    start = address.rstrip("/") + "/" if address else ""
    page = NOT_FOUND.format(site=html.escape(app.config.html_title), home=f"{start}index.html", logo=drawing)
    (folder / MISSING).write_text(page, encoding="utf-8")
    if address:
        draw_card(folder / CARD, app.config.html_title)
        pages = [f"{start}{name}.html" for name in sorted(app.env.found_docs)]
        (folder / SITE_MAP).write_text(site_map(pages), encoding="utf-8")


def draw_card(path: Path, title: str) -> None:
    """Draw the picture of a social card, 1200 x 630: the logo beside the title."""
    figure = Figure(figsize=(12, 6.3), dpi=100, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1200), ylim=(630, 0))
    axes.axis("off")
    axes.plot((110, 470), (470, 470), color=INK, linewidth=10, solid_capstyle="round")
    axes.plot((400, 400), (200, 430), color=SILENT, linewidth=16, dash_capstyle="round", dashes=(0.05, 2))
    axes.plot((190, 190), (170, 465), color=BRAND, linewidth=26, solid_capstyle="round")
    axes.fill((370, 310, 310, 235, 310, 310, 370), (330, 330, 375, 310, 245, 290, 290), color=EARLIER)
    lines = textwrap.wrap(title, TITLE_WIDTH)
    axes.text(560, 315, "\n".join(lines), fontsize=48, weight="bold", color=INK, va="center", linespacing=1.3)
    figure.savefig(path, format="png", dpi=100)


def site_map(addresses: list[str]) -> str:
    """Write a site map."""
    places = "".join(f"  <url><loc>{escape(address)}</loc></url>\n" for address in addresses)
    start = '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
    return f"{start}{places}</urlset>\n"


NOT_FOUND = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>No such page - {site}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ max-width: 34rem; margin: 15vh auto 0; padding: 0 1rem; font: 1.1rem/1.6 system-ui, sans-serif }}
svg {{ width: 5rem }}
h1 {{ font-size: 1.8rem; line-height: 1.2 }}
a:focus-visible {{ outline: 3px solid; outline-offset: 2px }}
</style>
</head>
<body>
<main>
{logo}
<h1>No such page</h1>
<p>Nothing fires at this address. The page may have moved, earlier or later.</p>
<p><a href="{home}">Start at the first page of "{site}"</a></p>
</main>
</body>
</html>
"""
