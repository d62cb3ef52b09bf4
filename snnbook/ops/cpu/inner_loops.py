"""Which inner loops the CPU engine uses: those in LLVM's own terms, or with SNNBOOK_PLAIN_LOOPS=1 their plain twins."""

from . import jit

if jit.PLAIN_LOOPS:
    from .plain import add_products, add_rows, pool, share
else:
    from .llvm_products import add_products
    from .llvm_rows import add_rows
    from .llvm_windows import pool, share

__all__ = ["add_products", "add_rows", "pool", "share"]
