"""How fast a forecast is, beside what the machine could do and beside a peer."""
