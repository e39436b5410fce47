"""Speech to text: decoding, recognition in child processes, live recordings."""
