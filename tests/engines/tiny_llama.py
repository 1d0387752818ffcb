"""Makes a Llama of random weights with a byte-level tokenizer, in Hugging Face's format.

`python tiny_llama.py FOLDER`, with the interpreter that has vLLM: it brings torch and transformers.
What it says is nonsense; that is no matter to a driver.
"""

import importlib
import sys


def main(folder: str) -> None:
    tokenizers, transformers, torch = map(
        importlib.import_module, ("tokenizers", "transformers", "torch")
    )
    torch.manual_seed(1)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = {word: at for at, word in enumerate(["<s>", "</s>", *alphabet])}
    spelling = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=words, merges=[]))
    spelling.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    spelling.decoder = tokenizers.decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=spelling, bos_token="<s>", eos_token="</s>"
    )
    fast.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    )
    fast.save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
        torch_dtype="float32",
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1])
