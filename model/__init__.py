"""Model: arrays and tables in, arrays and tables out. It knows no disk, no clock and no Prefect."""
