"""The frozen scorer and the decision policy applied to it."""
