"""Commands about batches: submit, watch, list, results, explain, cancel, retry, finalize."""
