"""What a support team does beside speaking: conversations that wait, are assigned and closed; notes; canned replies."""
