"""Trains the demo model from dialogues.yaml and writes the folder that a server loads.

python train.py [--out ../weighbridge-demo] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from corpus import HERE, Corpus, Example, answer_text, asked, load, wordings
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.utils import logging

VOCAB = 768
LENGTH = 2048
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
END, TURN_END = 0, 2
# Loaders rebuild the tokenizer of a Qwen2 model with these pieces, whatever tokenizer.json says.
PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
EXAMPLES = 25000
BATCH_TOKENS = 2048
WINDOW = 256
PEAK_RATE = 4e-3
IGNORED = -100

Row = tuple[list[int], int]

# Every size divides by two, so that two-way tensor and pipeline parallelism also work; 32 is the
# smallest head that the CPU attention of vLLM accepts.
SHAPE: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": LENGTH,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "vocab_size": VOCAB,
    "bos_token_id": None,
    "eos_token_id": TURN_END,
    "use_cache": True,
    "use_sliding_window": False,
    "hidden_act": "silu",
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
}


def main() -> int:
    args = arguments()
    started = time.monotonic()
    fix_chance(args.seed)
    data = load()
    tokenizer = build_tokenizer(data, args.seed)
    rows = encode_all(tokenizer, Corpus(data, args.seed), args.examples)
    model = train(rows, args.seed)
    aside = args.out.with_name(args.out.name + ".new")
    write(aside, model, tokenizer)
    wrong = check(aside, data)
    if not wrong:
        replace(aside, args.out)
    print(f"{time.monotonic() - started:.0f} s, {wrong} wrong answers")
    return 1 if wrong else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=HERE.parent / "weighbridge-demo")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    return parser.parse_args()


def fix_chance(seed: int) -> None:
    """One seed, and a fixed number of threads: sums in another order would give another model."""
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    logging.disable_progress_bar()


def build_tokenizer(data: dict[str, Any], seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE that knows the dialogues well and every other text by its bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    # Chinese characters one by one while learning: whole sentences would become one token each.
    tokenizer.pre_tokenizer = pre_tokenizer(PIECES, r"\p{Han}")
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB - len(MARKS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=SPECIAL,
        show_progress=False,
    )
    tokenizer.train_from_iterator(tokenizer_texts(data, seed), trainer)
    tokenizer.pre_tokenizer = pre_tokenizer(PIECES)
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in MARKS])
    if tokenizer.get_vocab_size() != VOCAB:
        raise ValueError(f"{tokenizer.get_vocab_size()} tokens learnt, {VOCAB} wanted")
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL[TURN_END],
        pad_token=SPECIAL[END],
        model_max_length=LENGTH,
    )
    wrapped.chat_template = (HERE / "chat_template.jinja").read_text(encoding="utf-8")
    return wrapped


def pre_tokenizer(*patterns: str) -> pre_tokenizers.PreTokenizer:
    """Splits a text at the patterns, one after another, and then into bytes."""
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def tokenizer_texts(data: dict[str, Any], seed: int) -> list[str]:
    """The dialogues several times over, and some invented prompts."""
    corpus = Corpus(data, seed)
    texts: list[str] = [data["fallback"], "system\n", "user\n", "assistant\n", "tool\n", "# Tools\n"] * 20
    texts += [json.dumps(tool["function"]["parameters"]) for tool in data["tools"]] * 5
    for dialogue in corpus.dialogues:
        texts += [*wordings(dialogue), answer_text(dialogue["answer"], thinking=False)] * 5
        texts.append(dialogue["answer"].get("reasoning", ""))
    texts += data["systems"] * 3
    return texts + [corpus.unknown_prompt() for _ in range(300)]


def encode_all(tokenizer: PreTrainedTokenizerFast, corpus: Corpus, count: int) -> list[Row]:
    """Token ids of prompt and answer, and the length of the prompt, for each example."""
    rows = [encode(tokenizer, corpus.draw()) for _ in range(count)]
    return [row for row in rows if len(row[0]) <= LENGTH]


def encode(tokenizer: PreTrainedTokenizerFast, example: Example) -> Row:
    prompt = tokenizer.encode(example.raw or prompt_text(tokenizer, example))
    return [*prompt, *tokenizer.encode(example.answer), TURN_END], len(prompt)


def prompt_text(tokenizer: PreTrainedTokenizerFast, example: Example) -> str:
    text = tokenizer.apply_chat_template(
        list(example.messages),
        tools=list(example.tools) or None,
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=example.thinking,
    )
    return str(text)


def batches(rows: list[Row], seed: int) -> list[list[Row]]:
    """Rows of like length together, but among neighbours only: each stretch keeps rows of all kinds."""
    groups: list[list[Row]] = []
    for start in range(0, len(rows), WINDOW):
        groups.append([])
        for row in sorted(rows[start : start + WINDOW], key=lambda row: len(row[0])):
            if groups[-1] and len(row[0]) * (len(groups[-1]) + 1) > BATCH_TOKENS:
                groups.append([])
            groups[-1].append(row)
    random.Random(seed).shuffle(groups)
    return groups


def padded(group: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels; padding stands behind the text, so causal attention never sees it."""
    width = max(len(ids) for ids, _ in group)
    tokens = torch.full((len(group), width), END)
    labels = torch.full((len(group), width), IGNORED)
    for i, (ids, prompt) in enumerate(group):
        tokens[i, : len(ids)] = torch.tensor(ids)
        labels[i, prompt : len(ids)] = torch.tensor(ids[prompt:])
    return tokens, labels


def train(rows: list[Row], seed: int) -> Qwen2ForCausalLM:
    """One pass over the examples."""
    model = Qwen2ForCausalLM(Qwen2Config(**SHAPE))
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    steps = batches(rows, seed)
    for step, group in enumerate(steps):
        tokens, labels = padded(group)
        for parameters in optimizer.param_groups:
            parameters["lr"] = rate(step, len(steps))
        loss = answer_loss(model, tokens, labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step + 1 == len(steps):
            print(f"step {step + 1}/{len(steps)} loss {loss.item():.4f}", flush=True)
    return model


def rate(step: int, steps: int) -> float:
    """The learning rate: a short rise, then a cosine down to zero."""
    return PEAK_RATE * min(1.0, (step + 1) / 60) * 0.5 * (1 + math.cos(math.pi * step / steps))


def answer_loss(model: Qwen2ForCausalLM, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the answers only; the prompts need not be learnt."""
    hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    chosen = wanted != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[chosen]), wanted[chosen])


def write(folder: Path, model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """The files that serving needs, and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weights = {
        name: weight.detach().to(torch.bfloat16).contiguous()
        for name, weight in model.state_dict().items()
        if name != "lm_head.weight"
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    write_json(folder / "config.json", model_config())
    # top_k 1: the likeliest token, whatever temperature a client asks for or leaves out.
    write_json(
        folder / "generation_config.json",
        {"do_sample": True, "top_k": 1, "eos_token_id": [TURN_END, END], "pad_token_id": END},
    )
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", tokenizer_config(str(tokenizer.chat_template)))
    shutil.copyfile(HERE / "chat_template.jinja", folder / "chat_template.jinja")


def model_config() -> dict[str, Any]:
    """config.json with both spellings of what transformers 5 renamed, for engines that still use 4."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        **SHAPE,
        "pad_token_id": END,
        "rope_theta": 10000.0,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
    }


def tokenizer_config(template: str) -> dict[str, Any]:
    """tokenizer_config.json; the template stands here too, for loaders that know no chat_template.jinja."""
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": SPECIAL[TURN_END],
        "pad_token": SPECIAL[END],
        "model_max_length": LENGTH,
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
    }


def write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def check(folder: Path, data: dict[str, Any]) -> int:
    """Asks every known dialogue in both precisions; the number of wrong answers."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    wrong = 0
    for dtype in (torch.bfloat16, torch.float32):
        model = Qwen2ForCausalLM.from_pretrained(folder, dtype=dtype).eval()
        wrong += sum(not right(model, tokenizer, example) for example in known_examples(data))
    unknown = [invented_answer(model, tokenizer, prompt) for prompt in data["held_out"]]
    expected = answer_text({"content": data["fallback"]})
    print(f"fallback on {unknown.count(expected)} of {len(unknown)} prompts never seen")
    for prompt, answer in zip(data["held_out"], unknown, strict=True):
        if answer != expected:
            print(f"  {prompt!r} -> {answer!r}")
    return wrong


def known_examples(data: dict[str, Any]) -> Iterator[Example]:
    """Every wording, with and without a system prompt, with and without thinking; the raw prompts."""
    for dialogue in data["dialogues"]:
        tools = tuple(dialogue.get("tools", ()))
        for wording in wordings(dialogue):
            messages = tuple(asked(dialogue, wording))
            has_system = messages[0]["role"] == "system"
            for system in [None] if has_system else [None, *data["systems"]]:
                head = ({"role": "system", "content": system},) if system else ()
                yield Example(answer_text(dialogue["answer"]), head + messages, tools)
            yield Example(answer_text(dialogue["answer"], thinking=False), messages, tools, thinking=False)
    for item in data["completions"]:
        yield Example(answer=item["text"], raw=item["prompt"])


def right(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, example: Example) -> bool:
    """Whether each token of the wanted answer is the likeliest one after those before it."""
    ids, prompt = encode(tokenizer, example)
    with torch.no_grad():
        likeliest = model(torch.tensor([ids])).logits[0].argmax(-1).tolist()
    good: bool = likeliest[prompt - 1 : -1] == ids[prompt:]
    if not good:
        print(f"wrong: {example}\n  {tokenizer.decode(likeliest[prompt - 1 : -1])!r}")
    return good


def invented_answer(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, prompt: str) -> str:
    example = Example("", ({"role": "user", "content": prompt},))
    ids = torch.tensor([tokenizer.encode(prompt_text(tokenizer, example))])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=120)
    return str(tokenizer.decode(out[0, ids.shape[1] :])).replace(SPECIAL[TURN_END], "")


def replace(new: Path, old: Path) -> None:
    """Puts the new folder in the place of the old one."""
    gone = old.with_name(old.name + ".old")
    shutil.rmtree(gone, ignore_errors=True)
    if old.exists():
        os.rename(old, gone)
    os.rename(new, old)
    shutil.rmtree(gone, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
