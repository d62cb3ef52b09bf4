"""Import matplotlib for all figures of the book, without its messages about folders and fonts.

matplotlib writes to stderr where its folder is read-only, and when it lists the machine's fonts for the first time.
A cell that imports it would show these messages to readers, and nbval would fail.
"""

import logging

from ..errors import UserError


class Missing(UserError, ImportError):
    """A package that figures need is not installed.

    Args:
        name: of the package
    """

    def __init__(self, name: str | None) -> None:
        super().__init__(f"the book's pictures need {name}, which is not installed: install snnbook[plot]")
        self.name = name


def import_matplotlib() -> None:
    """Import matplotlib, choose its folders and list the fonts, for this process and those it starts.

    Raises:
        Missing: if matplotlib is not installed
        UserError: if it finds no folder that it can write to
    """
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import matplotlib
        import matplotlib.font_manager

        matplotlib.get_configdir()
        matplotlib.get_cachedir()
    except ModuleNotFoundError as error:
        raise Missing(error.name) from None
    except OSError as error:
        raise UserError(f"matplotlib needs a folder that it can write to: {first_line(error)}; set TMPDIR") from None
    finally:
        logger.setLevel(level)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return str(error).partition("\n")[0]


import_matplotlib()

import matplotlib as mpl  # noqa: E402
from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

__all__ = ["Figure", "FigureCanvasSVG", "mpl"]
