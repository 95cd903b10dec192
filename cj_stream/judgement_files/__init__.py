"""Judgement files: which column is which, what a row says, and who won."""
