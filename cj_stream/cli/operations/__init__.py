"""Commands for operators: topics, settings, partitions, changelog."""
