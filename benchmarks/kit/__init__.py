"""What the benchmarks share: contenders, measuring in turns, tables, records."""
