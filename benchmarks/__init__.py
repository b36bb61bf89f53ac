"""What a guarded call costs, next to the smallest possible wrapper and to other libraries.

Run with `python -m benchmarks`; README.md says how to read what it prints.
"""
