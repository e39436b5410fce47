"""What media reaches outside, besides the object store."""
