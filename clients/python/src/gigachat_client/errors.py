# Made by tools/write_client_types.py: change the server, or that, and run `make docs`.
"""One class for each `code` that the API answers with: catch what you can act on, by class. A later code is an `ApiError`."""

from __future__ import annotations

from gigachat_client.problems import ApiError


class InternalError(ApiError):
    """The server failed; its log has the cause."""

    code = "internal_error"


class MalformedRequest(ApiError):
    """What was sent is not an HTTP/1.1 request."""

    code = "malformed_request"


class MalformedBody(ApiError):
    """The request body is not valid JSON."""

    code = "malformed_body"


class MalformedForm(ApiError):
    """The request body is not valid multipart/form-data."""

    code = "malformed_form"


class ChatbotRequired(ApiError):
    """The account has several chatbots, or none: say which one is meant."""

    code = "chatbot_required"


class Unauthenticated(ApiError):
    """A valid API key is required: send it as 'Authorization: Bearer <API_KEY>'."""

    code = "unauthenticated"


class TokenExpired(Unauthenticated):
    """This token has expired: ask your server for a new one."""

    code = "token_expired"


class IdentityRefused(Unauthenticated):
    """The provider's answer does not belong to this login. Try again."""

    code = "identity_refused"


class Forbidden(ApiError):
    """This API key is not allowed to do that."""

    code = "forbidden"


class HostnameRefused(Forbidden):
    """This chatbot's restrictions.hostnames do not list the page that sent the request."""

    code = "hostname_refused"


class AddressRefused(Forbidden):
    """This chatbot's restrictions.ip_addresses do not list the address that sent the request."""

    code = "address_refused"


class OriginRefused(Forbidden):
    """A page of another site cannot send this: it is for programs, and for pages on the chatbot's own hostnames."""

    code = "origin_refused"


class NotFound(ApiError):
    """There is nothing here, or it belongs to another account."""

    code = "not_found"


class MethodNotAllowed(ApiError):
    """This address does not support that method."""

    code = "method_not_allowed"


class Conflict(ApiError):
    """The request conflicts with the current state."""

    code = "conflict"


class ChangedMeanwhile(Conflict):
    """Somebody else changed this chatbot while you were here. What you typed is below: save again to put it in place."""

    code = "chatbot_changed"


class ConversationBusy(Conflict):
    """Another prompt of this conversation is being answered, and no more can wait. This one was not stored."""

    code = "conversation_busy"


class ConversationTakenOver(Conflict):
    """An operator has control of this conversation; the chatbot answers again after release."""

    code = "conversation_taken_over"


class AlreadyTakenOver(Conflict):
    """Another operator has control of this conversation; send force: true to take it from them."""

    code = "conversation_already_taken_over"


class IdempotencyInProgress(Conflict):
    """Another request with this Idempotency-Key is in progress; send it again shortly."""

    code = "idempotency_in_progress"


class TooManyIdentityKeys(Conflict):
    """A chatbot has 5 identity keys at most: delete one that no server signs with any more."""

    code = "too_many_identity_keys"


class NotClaimable(Conflict):
    """There is no such anonymous session any more: it has ended, or was claimed before."""

    code = "session_not_claimable"


class TooManyWidgetKeys(Conflict):
    """A chatbot has 100 widget keys at most: delete one, or add hostnames to another."""

    code = "too_many_widget_keys"


class OperatorExists(Conflict):
    """Another operator of the account has this e-mail address or handle, or had the handle before."""

    code = "operator_exists"


class LastOwner(Conflict):
    """This is the account's last owner: make another operator an owner first."""

    code = "last_owner"


class HandleFixed(Conflict):
    """An operator who has signed in keeps their handle: it is the name under which they spoke."""

    code = "handle_fixed"


class TooManyCannedReplies(Conflict):
    """A chatbot has at most 1000 canned replies."""

    code = "too_many_canned_replies"


class ShortcutTaken(Conflict):
    """Another canned reply of this chatbot has this shortcut."""

    code = "shortcut_taken"


class ProposalDecidedAlready(Conflict):
    """This proposal was sent, discarded, or is out of date."""

    code = "proposal_decided"


class NothingToAnswer(Conflict):
    """No end user has said anything in this conversation."""

    code = "nothing_to_answer"


class EmailUnverified(Conflict):
    """There is no verified e-mail address of this end user: your server's tokens tell it."""

    code = "email_unverified"


class DocumentNameTaken(Conflict):
    """Another document of this chatbot has that name."""

    code = "document_name_taken"


class SiteExists(Conflict):
    """This chatbot has that site already: have it crawled again, or change it."""

    code = "site_exists"


class TooManySites(Conflict):
    """A chatbot may have 100 sites; remove one."""

    code = "too_many_sites"


class TooManyFixedAnswers(Conflict):
    """A chatbot has at most 500 fixed answers: delete some, or push them as a document."""

    code = "too_many_fixed_answers"


class UnansweredSettled(Conflict):
    """This was answered or dismissed before."""

    code = "unanswered_settled"


class PreviousResponseSuperseded(ApiError):
    """A newer reply was made in this conversation: go on from that one. Conversations have no branches."""

    code = "previous_response_superseded"


class PayloadTooLarge(ApiError):
    """The request is larger than this server accepts."""

    code = "payload_too_large"


class UnsupportedMediaType(ApiError):
    """Send the body as uncompressed application/json, or a document also as multipart/form-data."""

    code = "unsupported_media_type"


class InvalidRequest(ApiError):
    """Some fields are invalid; see 'errors'."""

    code = "invalid_request"


class IdempotencyKeyReused(ApiError):
    """This Idempotency-Key was used before with another body; use a new key for a new request."""

    code = "idempotency_key_reused"


class RequestTimeout(ApiError):
    """The request took too long to arrive."""

    code = "request_timeout"


class HeadTooLarge(ApiError):
    """The request's address and headers are larger than this server accepts."""

    code = "head_too_large"


class TooManyConnections(ApiError):
    """Too many connections are open, here or from your address. Close some, or try again shortly."""

    code = "too_many_connections"


class StorageUnavailable(ApiError):
    """The message store cannot write right now. Try again shortly; with an Idempotency-Key nothing is stored twice."""

    code = "storage_unavailable"


class SecretMissing(ApiError):
    """This server has no secret to derive keys from: set GIGACHAT_SECRET, the same on every node."""

    code = "secret_missing"


class RateLimited(ApiError):
    """Too many requests: wait as long as Retry-After says."""

    code = "rate_limited"


class BudgetSpent(RateLimited):
    """This chatbot's budget for today is spent; it answers again tomorrow (UTC)."""

    code = "budget_spent"


class ShuttingDown(ApiError):
    """This server is shutting down. Try again shortly."""

    code = "shutting_down"


class ModelError(ApiError):
    """The model endpoint failed. The prompt is stored."""

    code = "upstream_failed"


class ModelUnreachable(ModelError):
    """The model endpoint cannot be reached. The prompt is stored."""

    code = "upstream_unreachable"


class ModelRejected(ModelError):
    """The model endpoint refused the request without saying why: check GIGACHAT_MODEL_URL with `gigachat doctor`. The prompt is
    stored.
    """

    code = "upstream_rejected"


class ModelUnauthorised(ModelRejected):
    """The model endpoint refuses the key: check GIGACHAT_MODEL_KEY, and what the key may do. The prompt is stored."""

    code = "upstream_unauthorised"


class ModelPaymentRequired(ModelRejected):
    """The account at the model endpoint has no credit or quota left: top it up there. The prompt is stored."""

    code = "upstream_payment_required"


class ModelNotFound(ModelRejected):
    """The model endpoint has no such model: check GIGACHAT_MODEL or the chatbot's response.model, and that the model is pulled
    or loaded there. The prompt is stored.
    """

    code = "upstream_model_not_found"


class ModelContextTooLong(ModelRejected):
    """The prompt, with passages and memory, is longer than the model accepts: lower memory_size, match_count or chunk_size, or
    send a shorter prompt. The prompt is stored.
    """

    code = "upstream_context_too_long"


class ModelFiltered(ModelRejected):
    """The provider's content filter blocked the prompt or the reply: rephrase the prompt. The prompt is stored."""

    code = "upstream_filtered"


class ModelParameterRefused(ModelRejected):
    """The model endpoint refuses a parameter: name it in GIGACHAT_MODEL_OMIT or the chatbot's response.omit; the server's log
    has its name, if the endpoint gave it. The prompt is stored.
    """

    code = "upstream_parameter_refused"


class ModelTemplateRefused(ModelRejected):
    """The model's chat template refuses the messages: give the model server another template, or use another model. The prompt
    is stored.
    """

    code = "upstream_template_refused"


class ModelMalformed(ModelError):
    """The model endpoint sent something other than a chat completion. The prompt is stored."""

    code = "upstream_malformed"


class ModelInterrupted(ModelError):
    """The model endpoint broke off in the middle of its reply; the part that arrived is stored."""

    code = "upstream_interrupted"


class ModelEmpty(ModelError):
    """The model endpoint answered without any text. The prompt is stored."""

    code = "upstream_empty"


class ModelTimeout(ModelError):
    """The model endpoint took too long. The prompt is stored."""

    code = "upstream_timeout"


class ModelRateLimited(ModelError):
    """The model endpoint limits the rate of requests: try again later. The prompt is stored."""

    code = "upstream_rate_limited"


class ReplyCutOff(ApiError):
    """The server stopped during the reply; the part that was written is stored. Send the prompt again, or retry it."""

    code = "reply_cut_off"


class EmbedderUnavailable(ApiError):
    """The embedding model cannot be reached right now, so documents cannot be searched."""

    code = "embedder_unavailable"


class EmbedderRejected(EmbedderUnavailable):
    """The embedding endpoint refuses requests: check its key and model with `gigachat doctor`."""

    code = "embedder_rejected"


class DocumentFailed(ApiError):
    """The document could not be made searchable; the server's log says why."""

    code = "document_failed"


class FileEmpty(DocumentFailed):
    """The file is empty."""

    code = "file_empty"


class FileUnknown(DocumentFailed):
    """gigachat cannot read this format: push text, Markdown, HTML, PDF, DOCX, PPTX, XLSX, CSV, ODT, ODS, ODP, RTF, EPUB, mail,
    JSON, XML or subtitles.
    """

    code = "file_unknown"


class FileEncrypted(DocumentFailed):
    """The file is encrypted: remove its password or protection, and push it again."""

    code = "file_encrypted"


class FileDamaged(DocumentFailed):
    """The file is damaged and cannot be read: open it, save it again, and push that."""

    code = "file_damaged"


class FileWithoutText(DocumentFailed):
    """The file holds no text; if it is a scan, run OCR on it and push the result."""

    code = "file_without_text"


class FileTooComplex(DocumentFailed):
    """Reading the file takes more memory or time than a document may: split it, or save it in a simpler form."""

    code = "file_too_complex"


class TextTooLong(DocumentFailed):
    """The file's text is longer than a document may be: split the file."""

    code = "text_too_long"


class TooManyChunks(DocumentFailed):
    """The text has more chunks than a document may have: split it, or raise the chatbot's chunk_size."""

    code = "too_many_chunks"


class EmbeddingRefused(DocumentFailed):
    """The embedding endpoint refuses the text: check its key and model, then restart gigachat to try again."""

    code = "embedding_refused"


class ProviderUnavailable(ApiError):
    """The identity provider cannot be reached, or answers with something else than OpenID Connect."""

    code = "identity_provider_unavailable"


class SearchBusy(ApiError):
    """The search took too long: use rarer words, or try again later."""

    code = "search_busy"


class MailMissing(ApiError):
    """This server sends no mail: its administrator sets GIGACHAT_SMTP_URL and GIGACHAT_MAIL_FROM."""

    code = "mail_missing"


class UnsupportedParameter(ApiError):
    """What this parameter asks for is not done here, and to ignore it would promise something else."""

    code = "unsupported_parameter"


class TaskNotAnswered(ApiError):
    """Titles, tags and other tasks of a front end are no prompts: nothing was stored. Switch them off there."""

    code = "task_not_answered"


class PreviousResponseNotFound(ApiError):
    """There is no such response, or it belongs to somebody else."""

    code = "previous_response_not_found"


class UnknownModel(ApiError):
    """No chatbot is called so: `model` is the id of a chatbot, or a name that one chatbot of the account has alone."""

    code = "model_not_found"


BY_CODE: dict[str, type[ApiError]] = {
    "internal_error": InternalError,
    "malformed_request": MalformedRequest,
    "malformed_body": MalformedBody,
    "malformed_form": MalformedForm,
    "chatbot_required": ChatbotRequired,
    "unauthenticated": Unauthenticated,
    "token_expired": TokenExpired,
    "identity_refused": IdentityRefused,
    "forbidden": Forbidden,
    "hostname_refused": HostnameRefused,
    "address_refused": AddressRefused,
    "origin_refused": OriginRefused,
    "not_found": NotFound,
    "method_not_allowed": MethodNotAllowed,
    "conflict": Conflict,
    "chatbot_changed": ChangedMeanwhile,
    "conversation_busy": ConversationBusy,
    "conversation_taken_over": ConversationTakenOver,
    "conversation_already_taken_over": AlreadyTakenOver,
    "idempotency_in_progress": IdempotencyInProgress,
    "too_many_identity_keys": TooManyIdentityKeys,
    "session_not_claimable": NotClaimable,
    "too_many_widget_keys": TooManyWidgetKeys,
    "operator_exists": OperatorExists,
    "last_owner": LastOwner,
    "handle_fixed": HandleFixed,
    "too_many_canned_replies": TooManyCannedReplies,
    "shortcut_taken": ShortcutTaken,
    "proposal_decided": ProposalDecidedAlready,
    "nothing_to_answer": NothingToAnswer,
    "email_unverified": EmailUnverified,
    "document_name_taken": DocumentNameTaken,
    "site_exists": SiteExists,
    "too_many_sites": TooManySites,
    "too_many_fixed_answers": TooManyFixedAnswers,
    "unanswered_settled": UnansweredSettled,
    "previous_response_superseded": PreviousResponseSuperseded,
    "payload_too_large": PayloadTooLarge,
    "unsupported_media_type": UnsupportedMediaType,
    "invalid_request": InvalidRequest,
    "idempotency_key_reused": IdempotencyKeyReused,
    "request_timeout": RequestTimeout,
    "head_too_large": HeadTooLarge,
    "too_many_connections": TooManyConnections,
    "storage_unavailable": StorageUnavailable,
    "secret_missing": SecretMissing,
    "rate_limited": RateLimited,
    "budget_spent": BudgetSpent,
    "shutting_down": ShuttingDown,
    "upstream_failed": ModelError,
    "upstream_unreachable": ModelUnreachable,
    "upstream_rejected": ModelRejected,
    "upstream_unauthorised": ModelUnauthorised,
    "upstream_payment_required": ModelPaymentRequired,
    "upstream_model_not_found": ModelNotFound,
    "upstream_context_too_long": ModelContextTooLong,
    "upstream_filtered": ModelFiltered,
    "upstream_parameter_refused": ModelParameterRefused,
    "upstream_template_refused": ModelTemplateRefused,
    "upstream_malformed": ModelMalformed,
    "upstream_interrupted": ModelInterrupted,
    "upstream_empty": ModelEmpty,
    "upstream_timeout": ModelTimeout,
    "upstream_rate_limited": ModelRateLimited,
    "reply_cut_off": ReplyCutOff,
    "embedder_unavailable": EmbedderUnavailable,
    "embedder_rejected": EmbedderRejected,
    "document_failed": DocumentFailed,
    "file_empty": FileEmpty,
    "file_unknown": FileUnknown,
    "file_encrypted": FileEncrypted,
    "file_damaged": FileDamaged,
    "file_without_text": FileWithoutText,
    "file_too_complex": FileTooComplex,
    "text_too_long": TextTooLong,
    "too_many_chunks": TooManyChunks,
    "embedding_refused": EmbeddingRefused,
    "identity_provider_unavailable": ProviderUnavailable,
    "search_busy": SearchBusy,
    "mail_missing": MailMissing,
    "unsupported_parameter": UnsupportedParameter,
    "task_not_answered": TaskNotAnswered,
    "previous_response_not_found": PreviousResponseNotFound,
    "model_not_found": UnknownModel,
}
