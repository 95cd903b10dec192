"""All that touches private parts of Faust or aiokafka: what an upgrade of either has to be reviewed against."""
