"""Checks of feeds, series and forecasts."""
