"""A finished run for other people's tools: tables, transcripts to read, a record of experiments."""
