"""The embedded profile: all five services, the broker and object storage in one process."""
