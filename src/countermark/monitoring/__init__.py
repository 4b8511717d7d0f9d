"""Production evidence: the ledger and matured outcomes against the reference profile of a release."""
