"""The version of this client, as servers see it."""

VERSION = "0.1.0"
