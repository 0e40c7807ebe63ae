"""The page people read in the morning: tables in, one HTML file out. No disk, no clock, no Prefect."""
