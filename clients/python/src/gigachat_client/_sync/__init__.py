# Made by tools/write_client_types.py: change the server, or that, and run `make docs`.
