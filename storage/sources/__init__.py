"""Sources of feeds, one module per kind. Each reads the data at a feed's uri and changes nothing there."""
