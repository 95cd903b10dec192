"""From comparisons to scores with their uncertainty."""
