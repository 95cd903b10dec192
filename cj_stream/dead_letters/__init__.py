"""Refused input: what a dead letter is, the limit on their share, and sending them again."""
