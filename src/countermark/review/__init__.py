"""The weekly review: prepared from what is written down, recorded as minutes, signed on the release log."""
