"""nbval's kernels get folders that they can write to, and matplotlib its list of fonts, before they start."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the environment that kernels inherit.

    Raises:
        pytest.UsageError: if there is no folder that can be written to, or matplotlib is not installed
    """
    from snnbook.book import kernels
    from snnbook.errors import UserError

    try:
        kernels.prepare()
    except UserError as error:
        raise pytest.UsageError(str(error)) from error
