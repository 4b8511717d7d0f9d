"""The declared bank as frozen models; ``config.load`` is the one door to Hydra."""
