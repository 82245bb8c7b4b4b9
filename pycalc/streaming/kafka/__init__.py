"""The event stream in Apache Kafka."""
