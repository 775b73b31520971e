"""Timing against the peers, interleaved in one run; ratios, since machines are shared and noisy."""
