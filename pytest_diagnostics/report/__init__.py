"""Everything that is rendered from a summary."""
