"""Is this table what was promised? Sources, contracts, quarantine."""
