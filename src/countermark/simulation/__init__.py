"""Simulated customers, traffic, faults and time: what the operating loop is played with. SYNTHETIC."""
