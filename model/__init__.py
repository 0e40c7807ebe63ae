"""WHAT: arrays and tables in, arrays and tables out. No disk, no clock, no Prefect."""
