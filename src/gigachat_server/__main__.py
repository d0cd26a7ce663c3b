"""`python -m gigachat_server` is the command `gigachat`."""

from gigachat_server.cli import main

if __name__ == "__main__":
    main()
