"""The command about dead letters."""
