"""From a recording to a summary: pure functions over results and usage."""
