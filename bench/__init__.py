"""Benchmarks: the populations every figure stands on, one module per budget, saved results.

    population ──chunks──► build, push ──► bench ──figures──► results.jsonl ──► docs/performance.md

Each is run as `python -m bench.NAME`.
"""
