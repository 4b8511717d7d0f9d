"""The decision service: route, features, score, reasons, ledger, answer. Over HTTP and over files."""
