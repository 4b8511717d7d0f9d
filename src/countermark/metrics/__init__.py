"""Arrays in, numbers out: every statistic of the house, without input or output."""
