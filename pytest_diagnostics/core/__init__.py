"""The domain: collectors, results, ticks, health and the manager. Imports the standard library only."""
