"""The interviewer's voice: text to speech."""
