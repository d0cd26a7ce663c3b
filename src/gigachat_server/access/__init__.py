"""Who is calling and what they may do: principals, scopes, keys, sessions, restrictions."""
