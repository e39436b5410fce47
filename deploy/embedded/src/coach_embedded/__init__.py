"""All five services, the durable queue and an object store in one process."""
