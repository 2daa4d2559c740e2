"""Scripts for a checkout; not installed."""
