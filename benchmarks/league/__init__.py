"""The league: Gatecast beside other forecasters on the same tasks, inputs and issue times. See docs/league.md."""
