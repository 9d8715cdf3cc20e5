"""The command line, a file for each of its commands."""
