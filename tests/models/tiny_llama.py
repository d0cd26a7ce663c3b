"""A llama.cpp server with a model of random weights, for a test that installs both: run with the Python that has them.

`python tiny_llama.py FILE` writes the model into FILE, serves it on a free port of loopback, prints the URL, and goes on until
its standard input ends. The model says nothing but letters; its template and its server are as real as any.
"""

from __future__ import annotations

import sys

VOCABULARY = 3 + 256
WIDTH, HIDDEN, HEADS, LAYERS = 64, 128, 4, 2
CONTEXT = 2048
LETTERS = "etaoinshrdlucmfwypvbgkjqxz .,!?ETAOINSHRDLUCMFWYPVBGKJQXZ0123456"
TEMPLATE = (
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant:"
)


def write_model(path: str) -> None:
    import gguf  # type: ignore[import-not-found] # of the environment that the test makes
    import numpy as np

    rng = np.random.default_rng(15)
    size = VOCABULARY + len(LETTERS)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(size)
    kinds = gguf.TokenType
    writer.add_tokenizer_model("llama")
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *LETTERS.replace(" ", "\u2581")]
    writer.add_token_list([token.encode() for token in tokens])
    writer.add_token_scores([0.0] * size)
    writer.add_token_types([kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256, *[kinds.NORMAL] * len(LETTERS)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)

    def random(*shape: int) -> object:
        return (rng.standard_normal(shape) * 0.08).astype(np.float32)

    ones = np.ones(WIDTH, np.float32)
    tensors = {"token_embd": random(size, WIDTH), "output": random(size, WIDTH), "output_norm": ones}
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors[f"blk.{layer}.{name}"] = random(WIDTH, WIDTH)
        tensors |= {f"blk.{layer}.attn_norm": ones, f"blk.{layer}.ffn_norm": ones}
        tensors |= {f"blk.{layer}.ffn_{name}": random(HIDDEN, WIDTH) for name in ("gate", "up")}
        tensors[f"blk.{layer}.ffn_down"] = random(WIDTH, HIDDEN)
    for name, tensor in tensors.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main(path: str) -> None:
    import xllamacpp  # type: ignore[import-not-found]

    write_model(path)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_ctx = CONTEXT
    parameters.n_parallel = 1
    parameters.use_jinja = True
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
