"""A past decision again: the release by its digest, the features as recorded, and every bit compared."""
