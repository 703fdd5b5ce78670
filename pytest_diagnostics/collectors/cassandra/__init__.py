"""What Cassandra and ScyllaDB say of their materialized views and secondary indexes."""
