"""Decisions, and nothing else.

What is hard about resilience (when to retry, when to open, which ending a call had) lives here as plain objects that
are given `now` and answer with a decision. Nothing in this room reads a clock, sleeps, takes a lock, does I/O or knows
that telemetry exists; the drivers in `telemetrix.primitives` do that, once for sync and once for async, around the same
answers.
"""
