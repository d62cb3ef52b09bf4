"""Parts of all benchmarks: contenders, measuring in turns, tables, records."""
