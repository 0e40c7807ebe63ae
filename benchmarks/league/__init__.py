"""The league: Gatecast beside other forecasters on the same tasks, inputs and issue times (docs/league.md)."""
