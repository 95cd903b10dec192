"""How far scores can be trusted, and when to stop."""
