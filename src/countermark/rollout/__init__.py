"""Shadow, canary, full: how a release takes over from the one before, and how it is turned back by itself."""
