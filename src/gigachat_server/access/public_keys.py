"""Public keys that clients bring for their users' tokens: which are taken, and in what form they are kept."""

from __future__ import annotations

from gigachat_server.errors import FieldError, InvalidRequest
from gigachat_server.records import Algorithm

_FIELD = "public_key"
_LEAST_RSA_BITS = 2048
_MOST_RSA_BITS = 4096  # to verify with a longer one holds others up


def canonical_public_key(text: str, algorithm: Algorithm) -> str:
    """The key as PEM, SubjectPublicKeyInfo. Raises `InvalidRequest` for one that is private, weak or of another algorithm.

    Takes a quarter of a second the first time: for a thread.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if "PRIVATE KEY" in text:
        raise _refused("Is a private key: keep it on your server, and replace it, since it was sent. Send its public key.")
    try:
        key = serialization.load_pem_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise _refused("Must be a public key in PEM: -----BEGIN PUBLIC KEY-----.") from None
    if algorithm == "EdDSA" and not isinstance(key, ed25519.Ed25519PublicKey):
        raise _refused("EdDSA takes an Ed25519 key.")
    if algorithm == "ES256" and not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        raise _refused("ES256 takes a key of the curve P-256.")
    if algorithm == "RS256" and not (isinstance(key, rsa.RSAPublicKey) and _LEAST_RSA_BITS <= key.key_size <= _MOST_RSA_BITS):
        raise _refused(f"RS256 takes an RSA key of {_LEAST_RSA_BITS} to {_MOST_RSA_BITS} bits.")
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(errors=(FieldError(_FIELD, message),))
