"""cj_stream: rank texts by comparative judgement on Kafka, with Faust."""
