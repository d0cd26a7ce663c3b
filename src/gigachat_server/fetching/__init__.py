"""Safe requests to addresses that others name: URLs, address rules, fetching."""
