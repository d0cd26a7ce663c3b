"""The process around the application: listening, signals, limits on connections, the local socket, logs."""
