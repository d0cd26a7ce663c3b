"""What happens in a conversation, recorded in order."""
