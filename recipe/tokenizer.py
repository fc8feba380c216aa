"""The small tokenizer of the shapes world: CLIP's byte-level BPE, whose only merges spell the captions' words."""

from transformers import CLIPTokenizer

from ttsnap.shapes.captions import COLOURS, RELATIONS, SHAPES

MAX_LENGTH = 32


def _byte_symbols() -> list[str]:
    """The 256 printable characters that stand for bytes in byte-level BPE (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b if b in printable else next(others)) for b in range(256)]


def _apply(merges: list[tuple[str, str]], symbols: list[str]) -> list[str]:
    """Byte-pair encoding: the merges in their order, each wherever it fits."""
    for first, second in merges:
        at = 0
        while at < len(symbols) - 1:
            if (symbols[at], symbols[at + 1]) == (first, second):
                symbols = [*symbols[:at], first + second, *symbols[at + 2 :]]
            at += 1
    return symbols


def build_tokenizer() -> CLIPTokenizer:
    """A CLIPTokenizer that reads any text byte by byte and the caption words as one token each."""
    words = sorted({"a", "an", "and", *COLOURS, *SHAPES, *" ".join(RELATIONS).split()})
    merges: list[tuple[str, str]] = []
    for word in words:
        while len(symbols := _apply(merges, [*word[:-1], word[-1] + "</w>"])) > 1:
            merges.append((symbols[0], symbols[1]))
    symbols = _byte_symbols()
    tokens = [*symbols, *(s + "</w>" for s in symbols), *("".join(m) for m in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_LENGTH)
