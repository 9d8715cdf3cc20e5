"""What a user asks for, run from beginning to end."""
