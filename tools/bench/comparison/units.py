# SPDX-License-Identifier: BSL-1.0
"""Figures for people."""


def three(v):
    """Three digits that mean something."""
    return f"{v:.0f}" if v >= 99.5 else f"{v:.1f}".removesuffix(".0") if v >= 9.95 else f"{v:.2f}".rstrip("0").rstrip(".")


def nanoseconds(v):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if v >= size * 0.9995:
            return f"{three(v / size)} {unit}"
    return f"{three(v)} ns"


def microseconds(v):
    return nanoseconds(v * 1000)


def count(v):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if v >= size:
            return three(v / size) + unit
    return three(v)


def size(v):
    """Bytes."""
    for unit, step in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if v >= step:
            return f"{three(v / step)} {unit}"
    return f"{three(v)} B"


def ratio(v):
    return f"{v:.2f}"


def percent(quantile):
    """0.999 -> 99.9 %"""
    return f"{quantile * 100:.6f}".rstrip("0").rstrip(".") + " %"
