"""Rebuilding a release from its commit, from nothing, and comparing digests."""
