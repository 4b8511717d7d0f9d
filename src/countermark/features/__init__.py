"""From contracted tables to the modelling data set: views, assembly, guards."""
