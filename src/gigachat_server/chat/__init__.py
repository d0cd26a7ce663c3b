"""Conversations: what is said in them, who answers, and who may follow."""
