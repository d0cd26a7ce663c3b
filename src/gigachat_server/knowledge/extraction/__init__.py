"""Text out of files, read by a process of its own that can harm nothing."""
