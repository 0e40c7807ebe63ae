"""Measurements of cost, speed, accuracy and operation. Each module is a command; results are in `results/`."""
