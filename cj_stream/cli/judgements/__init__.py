"""Commands about judgements: score, report, simulate."""
