"""Fetching what others name, safely: URLs, addresses, requests."""
