"""Every error a caller can act on, as one tree; `edge/problem.py` renders it.

Invariant: a `code` never changes its meaning once released; the prose may. Nothing in `message` or `detail` repeats
what an upstream model or the database said, so no error can leak a key, a path or another tenant's text.
"""

from __future__ import annotations

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One invalid field of a request: where it is (`response.n`) and what is wrong with it."""

    field: str
    message: str


class GigachatError(Exception):
    """Any answer other than success. `message` describes the kind; `detail` says what to do in this case."""

    status = 500
    code = "internal_error"
    message = "The server failed; its log has the cause."

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: tuple[FieldError, ...] = (),
        retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail or self.message)
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s
        self.headers = headers or {}

    def again(self) -> GigachatError:
        """A copy for another caller: a raised error keeps its frames, and everything they reference, alive."""
        return type(self)(self.detail, errors=self.errors, retry_after_s=self.retry_after_s, headers=self.headers)


class MalformedRequest(GigachatError):
    status = 400
    code = "malformed_request"
    message = "What was sent is not an HTTP/1.1 request."


class MalformedBody(GigachatError):
    status = 400
    code = "malformed_body"
    message = "The request body is not valid JSON."


class MalformedForm(GigachatError):
    status = 400
    code = "malformed_form"
    message = "The request body is not valid multipart/form-data."


class ChatbotRequired(GigachatError):
    status = 400
    code = "chatbot_required"
    message = "The account has several chatbots, or none: say which one is meant."


class Unauthenticated(GigachatError):
    status = 401
    code = "unauthenticated"
    message = "A valid API key is required: send it as 'Authorization: Bearer <API_KEY>'."


class TokenExpired(Unauthenticated):
    code = "token_expired"
    message = "This token has expired: ask your server for a new one."


class Forbidden(GigachatError):
    status = 403
    code = "forbidden"
    message = "This API key is not allowed to do that."


class HostnameRefused(Forbidden):
    code = "hostname_refused"
    message = "This chatbot's restrictions.hostnames do not list the page that sent the request."


class AddressRefused(Forbidden):
    code = "address_refused"
    message = "This chatbot's restrictions.ip_addresses do not list the address that sent the request."


class OriginRefused(Forbidden):
    code = "origin_refused"
    message = "A page of another site cannot send this: it is for programs, and for pages on the chatbot's own hostnames."


class NotFound(GigachatError):
    status = 404
    code = "not_found"
    message = "There is nothing here, or it belongs to another account."


class MethodNotAllowed(GigachatError):
    status = 405
    code = "method_not_allowed"
    message = "This address does not support that method."


class Conflict(GigachatError):
    status = 409
    code = "conflict"
    message = "The request conflicts with the current state."


class ChangedMeanwhile(Conflict):
    code = "chatbot_changed"
    message = "Somebody else changed this chatbot while you were here. What you typed is below: save again to put it in place."


class ConversationBusy(Conflict):
    code = "conversation_busy"
    message = "Another prompt of this conversation is being answered, and no more can wait. This one was not stored."


class PreviousResponseSuperseded(GigachatError):
    status = 400
    code = "previous_response_superseded"
    message = "A newer reply was made in this conversation: go on from that one. Conversations have no branches."


class ConversationTakenOver(Conflict):
    code = "conversation_taken_over"
    message = "An operator has control of this conversation; the chatbot answers again after release."


class AlreadyTakenOver(Conflict):
    code = "conversation_already_taken_over"
    message = "Another operator has control of this conversation; send force: true to take it from them."


class IdempotencyInProgress(Conflict):
    code = "idempotency_in_progress"
    message = "Another request with this Idempotency-Key is in progress; send it again shortly."


class PayloadTooLarge(GigachatError):
    status = 413
    code = "payload_too_large"
    message = "The request is larger than this server accepts."


class UnsupportedMediaType(GigachatError):
    status = 415
    code = "unsupported_media_type"
    message = "Send the body as uncompressed application/json, or a document also as multipart/form-data."


class InvalidRequest(GigachatError):
    status = 422
    code = "invalid_request"
    message = "Some fields are invalid; see 'errors'."


class IdempotencyKeyReused(GigachatError):
    status = 422
    code = "idempotency_key_reused"
    message = "This Idempotency-Key was used before with another body; use a new key for a new request."


class RequestTimeout(GigachatError):
    status = 408
    code = "request_timeout"
    message = "The request took too long to arrive."


class HeadTooLarge(GigachatError):
    status = 431
    code = "head_too_large"
    message = "The request's address and headers are larger than this server accepts."


class TooManyConnections(GigachatError):
    status = 503
    code = "too_many_connections"
    message = "Too many connections are open, here or from your address. Close some, or try again shortly."


class StorageUnavailable(GigachatError):
    status = 503
    code = "storage_unavailable"
    message = "The message store cannot write right now. Try again shortly; with an Idempotency-Key nothing is stored twice."


class SecretMissing(GigachatError):
    status = 503
    code = "secret_missing"
    message = "This server has no secret to derive keys from: set GIGACHAT_SECRET, the same on every node."


class RateLimited(GigachatError):
    """`violated` names the policies that refused, of a chatbot's `limits`."""

    status = 429
    code = "rate_limited"
    message = "Too many requests: wait as long as Retry-After says."

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: tuple[FieldError, ...] = (),
        retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
        violated: tuple[str, ...] = (),
    ) -> None:
        super().__init__(detail, errors=errors, retry_after_s=retry_after_s, headers=headers)
        self.violated = violated

    def again(self) -> RateLimited:
        return type(self)(self.detail, retry_after_s=self.retry_after_s, headers=self.headers, violated=self.violated)


class BudgetSpent(RateLimited):
    code = "budget_spent"
    message = "This chatbot's budget for today is spent; it answers again tomorrow (UTC)."


class ShuttingDown(GigachatError):
    status = 503
    code = "shutting_down"
    message = "This server is shutting down. Try again shortly."


STORED = "The prompt is stored."  # the end of a failed call's message; a model test, which stores nothing, cuts it off


class ModelError(GigachatError):
    """The model could not make a reply. The prompt is stored and marked `failed`."""

    status = 502
    code = "upstream_failed"
    message = "The model endpoint failed. The prompt is stored."


class ModelUnreachable(ModelError):
    code = "upstream_unreachable"
    message = "The model endpoint cannot be reached. The prompt is stored."


class ModelRejected(ModelError):
    code = "upstream_rejected"
    message = (
        "The model endpoint refused the request without saying why: check GIGACHAT_MODEL_URL with `gigachat doctor`. "
        "The prompt is stored."
    )


class ModelUnauthorised(ModelRejected):
    code = "upstream_unauthorised"
    message = "The model endpoint refuses the key: check GIGACHAT_MODEL_KEY, and what the key may do. The prompt is stored."


class ModelPaymentRequired(ModelRejected):
    code = "upstream_payment_required"
    message = "The account at the model endpoint has no credit or quota left: top it up there. The prompt is stored."


class ModelNotFound(ModelRejected):
    code = "upstream_model_not_found"
    message = (
        "The model endpoint has no such model: check GIGACHAT_MODEL or the chatbot's response.model, and that the model is "
        "pulled or loaded there. The prompt is stored."
    )


class ModelContextTooLong(ModelRejected):
    status = 422
    code = "upstream_context_too_long"
    message = (
        "The prompt, with passages and memory, is longer than the model accepts: lower memory_size, match_count or "
        "chunk_size, or send a shorter prompt. The prompt is stored."
    )


class ModelFiltered(ModelRejected):
    status = 422
    code = "upstream_filtered"
    message = "The provider's content filter blocked the prompt or the reply: rephrase the prompt. The prompt is stored."


class ModelParameterRefused(ModelRejected):
    code = "upstream_parameter_refused"
    message = (
        "The model endpoint refuses a parameter: name it in GIGACHAT_MODEL_OMIT or the chatbot's response.omit; "
        "the server's log has its name, if the endpoint gave it. The prompt is stored."
    )


class ModelTemplateRefused(ModelRejected):
    code = "upstream_template_refused"
    message = (
        "The model's chat template refuses the messages: give the model server another template, or use another model. "
        "The prompt is stored."
    )


class ModelMalformed(ModelError):
    code = "upstream_malformed"
    message = "The model endpoint sent something other than a chat completion. The prompt is stored."


class ModelInterrupted(ModelError):
    code = "upstream_interrupted"
    message = "The model endpoint broke off in the middle of its reply; the part that arrived is stored."


class ModelEmpty(ModelError):
    code = "upstream_empty"
    message = "The model endpoint answered without any text. The prompt is stored."


class ModelTimeout(ModelError):
    status = 504
    code = "upstream_timeout"
    message = "The model endpoint took too long. The prompt is stored."


class ModelRateLimited(ModelError):
    status = 429
    code = "upstream_rate_limited"
    message = "The model endpoint limits the rate of requests: try again later. The prompt is stored."


class ReplyCutOff(GigachatError):
    status = 503
    code = "reply_cut_off"
    message = "The server stopped during the reply; the part that was written is stored. Send the prompt again, or retry it."


class EmbedderUnavailable(GigachatError):
    status = 503
    code = "embedder_unavailable"
    message = "The embedding model cannot be reached right now, so documents cannot be searched."


class EmbedderRejected(EmbedderUnavailable):
    """The embedding endpoint will refuse this again until its configuration changes."""

    code = "embedder_rejected"
    message = "The embedding endpoint refuses requests: check its key and model with `gigachat doctor`."


def error_with_code(code: str | None) -> GigachatError:
    """The error that a failed prompt was stored with; the internal error if this version does not know the code."""
    kinds: list[type[GigachatError]] = [GigachatError]
    for kind in kinds:
        if kind.code == code:
            return kind(retry_after_s=1 if kind.status == 503 else None)
        kinds += kind.__subclasses__()
    return GigachatError()


class DocumentFailed(GigachatError):
    """A document that cannot be made searchable: it is stored as `failed`, with this code and what to do about it."""

    status = 422
    code = "document_failed"
    message = "The document could not be made searchable; the server's log says why."


class FileEmpty(DocumentFailed):
    code = "file_empty"
    message = "The file is empty."


class FileUnknown(DocumentFailed):
    code = "file_unknown"
    wanted = "push text, Markdown, HTML, PDF, DOCX, PPTX, XLSX, CSV, ODT, ODS, ODP, RTF, EPUB, mail, JSON, XML or subtitles."
    message = f"gigachat cannot read this format: {wanted}"


class FileEncrypted(DocumentFailed):
    code = "file_encrypted"
    message = "The file is encrypted: remove its password or protection, and push it again."


class FileDamaged(DocumentFailed):
    code = "file_damaged"
    message = "The file is damaged and cannot be read: open it, save it again, and push that."


class FileWithoutText(DocumentFailed):
    code = "file_without_text"
    message = "The file holds no text; if it is a scan, run OCR on it and push the result."


class FileTooComplex(DocumentFailed):
    code = "file_too_complex"
    message = "Reading the file takes more memory or time than a document may: split it, or save it in a simpler form."


class TextTooLong(DocumentFailed):
    code = "text_too_long"
    message = "The file's text is longer than a document may be: split the file."


class TooManyChunks(DocumentFailed):
    code = "too_many_chunks"
    message = "The text has more chunks than a document may have: split it, or raise the chatbot's chunk_size."


class EmbeddingRefused(DocumentFailed):
    code = "embedding_refused"
    message = "The embedding endpoint refuses the text: check its key and model, then restart gigachat to try again."


def document_failure(code: str, reason: str) -> DocumentFailed:
    """The error that a failed document was stored with; the general one if this version does not know the code."""
    for kind in DocumentFailed.__subclasses__():
        if kind.code == code:
            return kind(reason)
    return DocumentFailed(reason)


class SetupError(Exception):
    """The server or a command cannot start as configured. Its text is one line for a person: what is wrong, what to do."""
