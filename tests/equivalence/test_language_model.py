"""Ours against Qwen3: without visual tokens the model is an ordinary Qwen3, saved alone too."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, Qwen3ForCausalLM

from tests.support.checkpoints import small_config, small_model
from tests.support.engines import CountingEngine, embed
from tests.support.tokenizers import token_ids
from vist2_memory.text.transcript import MARKS
from vist2_memory.training.export import save_language_model
from vist2_memory.types import Chunk, Context, Finished, GenerationParams

pytest_plugins = ("tests.support.fixtures",)

IDS = torch.tensor([token_ids("Anna's brother keeps bees; they don't like rain.")])


def test_without_visual_tokens_the_logits_are_those_of_qwen3_with_the_same_weights() -> None:
    model = small_model()
    stock = Qwen3ForCausalLM(small_config().text_config).eval()
    stock.load_state_dict(model.language_model.state_dict())
    with torch.no_grad():
        assert torch.equal(model(input_ids=IDS).logits, stock(input_ids=IDS).logits)


def test_saved_alone_the_language_model_loads_as_an_ordinary_qwen3(tmp_path: Path) -> None:
    model = small_model()
    save_language_model(model, tmp_path)
    stock, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(stock) is Qwen3ForCausalLM
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        assert torch.equal(model(input_ids=IDS).logits, stock.eval()(input_ids=IDS).logits)


def test_greedy_answers_are_those_of_transformers_generate(checkpoint: Path) -> None:
    """As long as nothing folds: chunks of eight tokens, a tail limit far beyond the answer."""
    engine = CountingEngine(checkpoint, keep_recent_chunks=20)
    texts = ["My cat is called Miso. ", "Anna's brother keeps bees; "]
    visual = engine.encode([Chunk(text, text, 8) for text in texts])
    tail = f"{MARKS['user']}What is my cat called?{MARKS['assistant']}"
    context = Context(f"{MARKS['system']}Be kind.", tuple(visual), tail)
    *_, end = engine.generate(context, GenerationParams(max_tokens=40))
    assert isinstance(end, Finished)
    embeds = torch.cat(
        [
            embed(engine, token_ids(context.pinned)),
            *(torch.from_numpy(tokens.values) for tokens in visual),
            embed(engine, token_ids(tail)),
        ]
    )[None]
    tokenizer, processor = engine.processor.tokenizer, engine.processor
    ids = engine.model.language_model.generate(
        inputs_embeds=embeds,
        attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long),
        do_sample=False,
        max_new_tokens=40,
        suppress_tokens=sorted(processor.silent_ids),
        eos_token_id=sorted(processor.stop_ids),
        pad_token_id=tokenizer.id("\ue009"),
    )[0].tolist()
    answer = [i for i in ids if i not in processor.stop_ids]
    assert len(set(answer)) > 2, "the model only repeats itself; the test proves little"
    assert end.text == b"".join(map(tokenizer.bytes_of, answer)).decode("utf-8", "replace")
    assert end.usage.new_tokens == len(answer)
