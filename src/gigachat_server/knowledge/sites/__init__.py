"""Web sites, crawled into documents."""
