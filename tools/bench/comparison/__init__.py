# SPDX-License-Identifier: BSL-1.0
"""What tools/bench/run and tools/bench/report are made of."""
