"""Grammar libraries side by side, on this project's own vocabulary and on a large one.

    python benchmarks/choose_grammar.py [--words PROSE.jsonl.xz] [--json]

Needs llguidance, xgrammar and outlines-core; one that is not installed is left out. Each is given
the same tokens and the same schemas, in one process and by turns, so that the ratios of the times
hold on a crowded machine too. A schema is *kept* when a good value is taken and each bad one
refused.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import lzma
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TINY = Path(__file__).parent.parent / "vist2_memory/assets/vist2-tiny"
ROUNDS = 5


def obj(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


S, I = {"type": "string"}, {"type": "integer"}  # noqa: E741
NODE = obj("v", "next", v=I, next={"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]})
CASES: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "strings": (obj("a", a=S), '{"a": "né \\" x"}', ['{"a": 1}', '{"b": "x"}', '{"a": "x"']),
    "numbers": (
        obj("a", a={**I, "minimum": 3, "maximum": 25}),
        '{"a": 19}',
        ['{"a": 26}', '{"a": 2}'],
    ),
    "optional": (obj("b", a=S, b=I), '{"b": 1}', ['{"a": "x"}', '{"b": 1, "c": 2}']),
    "enum": (obj("a", a={"enum": ["x", 3, None]}), '{"a": null}', ['{"a": "y"}']),
    "any of": (obj("a", a={"anyOf": [I, obj("z", z=S)]}), '{"a": {"z": ""}}', ['{"a": ""}']),
    "all of": (
        {"allOf": [{**obj("a", a=S), "additionalProperties": True}, {"required": ["b"]}]},
        '{"a": "x", "b": 1}',
        ['{"a": "x"}'],
    ),
    "recursive": (
        {**obj("n", n={"$ref": "#/$defs/n"}), "$defs": {"n": NODE}},
        '{"n": {"v": 1, "next": {"v": 2, "next": null}}}',
        ['{"n": {"v": 1}}', '{"n": {"v": 1, "next": 2}}'],
    ),
    "items": (
        obj("a", a={"type": "array", "items": I, "minItems": 1, "maxItems": 2}),
        '{"a": [1, 2]}',
        ['{"a": []}', '{"a": [1, 2, 3]}'],
    ),
    "map": (
        obj("a", a={"type": "object", "additionalProperties": I}),
        '{"a": {"k": 1, "l": 2}}',
        ['{"a": {"k": "x"}}'],
    ),
    "pattern": (
        obj("a", a={**S, "pattern": "^[a-z]{2}-[0-9]+$"}),
        '{"a": "ab-12"}',
        ['{"a": "b"}'],
    ),
    "date-time": (
        obj("a", a={**S, "format": "date-time"}),
        '{"a": "2026-01-31T10:00:00Z"}',
        ['{"a": "yesterday"}'],
    ),
    "multiple": (obj("a", a={**I, "multipleOf": 5}), '{"a": 15}', ['{"a": 14}']),
    "unique": (
        obj("a", a={"type": "array", "items": I, "uniqueItems": True}),
        '{"a": [1]}',
        ['{"a": [1, 1]}'],
    ),
    "not": (obj("a", a={"not": I}), '{"a": "x"}', ['{"a": 1}']),
}
LONG = json.dumps({"a": "It rained for days, and nobody spoke of the harbour. " * 4})


class LLGuidance:
    """llguidance."""

    def __init__(
        self, tokens: list[bytes], stop: int, encode: Callable[[bytes], list[int]]
    ) -> None:
        import llguidance

        class Tokens:
            eos_token_id, bos_token_id, special_token_ids = stop, None, [stop]

            def __call__(self, text: bytes) -> list[int]:
                return encode(text)

        Tokens.tokens = tokens  # type: ignore[attr-defined]
        self._library, self._stop = llguidance, stop
        wrapped = llguidance.TokenizerWrapper(Tokens())
        self._tokenizer = llguidance.LLTokenizer(wrapped, n_vocab=len(tokens), eos_token=stop)

    def compile(self, schema: dict[str, Any]) -> Any:
        ways = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        grammar = self._library.LLMatcher.grammar_from_json_schema(schema, overrides=ways)
        matcher = self._library.LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def start(self, compiled: Any) -> Any:
        return compiled.deep_copy()

    def mask(self, matcher: Any) -> None:
        matcher.compute_bitmask()

    def take(self, matcher: Any, token: int) -> bool:
        return bool(matcher.try_consume_tokens([token]))

    def ends(self, matcher: Any) -> bool:
        return bool(matcher.is_accepting())


class XGrammar:
    """xgrammar."""

    def __init__(
        self, tokens: list[bytes], stop: int, encode: Callable[[bytes], list[int]]
    ) -> None:
        import xgrammar

        self._library, self._stop = xgrammar, stop
        info = xgrammar.TokenizerInfo(tokens, stop_token_ids=[stop])
        self._compiler = xgrammar.GrammarCompiler(info, cache_enabled=False)
        self._bits = xgrammar.allocate_token_bitmask(1, len(tokens))

    def compile(self, schema: dict[str, Any]) -> Any:
        return self._compiler.compile_json_schema(
            json.dumps(schema), any_whitespace=False, separators=(", ", ": "), strict_mode=False
        )

    def start(self, compiled: Any) -> Any:
        return self._library.GrammarMatcher(compiled)

    def mask(self, matcher: Any) -> None:
        matcher.fill_next_token_bitmask(self._bits)

    def take(self, matcher: Any, token: int) -> bool:
        return bool(matcher.accept_token(token))

    def ends(self, matcher: Any) -> bool:
        return bool(matcher.accept_token(self._stop))


class OutlinesCore:
    """outlines-core."""

    def __init__(
        self, tokens: list[bytes], stop: int, encode: Callable[[bytes], list[int]]
    ) -> None:
        import outlines_core

        ids: dict[bytes, list[int]] = {}
        for number, data in enumerate(tokens):
            if number != stop and data:
                ids.setdefault(data, []).append(number)
        self._library = outlines_core
        self._vocabulary = outlines_core.Vocabulary(stop, ids)

    def compile(self, schema: dict[str, Any]) -> Any:
        regex = self._library.json_schema.build_regex_from_schema(json.dumps(schema), "[ ]?")
        return self._library.Index(regex, self._vocabulary)

    def start(self, compiled: Any) -> Any:
        return self._library.Guide(compiled)

    def mask(self, guide: Any) -> None:
        guide.get_tokens()

    def take(self, guide: Any, token: int) -> bool:
        try:
            guide.advance(token, False)
        except ValueError:
            return False
        return True

    def ends(self, guide: Any) -> bool:
        return bool(guide.is_finished())


LIBRARIES = {"llguidance": LLGuidance, "xgrammar": XGrammar, "outlines_core": OutlinesCore}


def keeps(library: Any, case: str, encode: Callable[[bytes], list[int]]) -> str:
    """Whether ``library`` keeps to a schema: "kept", "refused", or what goes wrong."""
    schema, good, bad = CASES[case]
    try:
        compiled = library.compile(schema)
    except Exception:
        return "refused"

    def takes(text: str) -> bool:
        state = library.start(compiled)
        return all(library.take(state, i) for i in encode(text.encode())) and library.ends(state)

    if not takes(good):
        return "too narrow"
    return "too wide" if any(map(takes, bad)) else "kept"


def vocabularies(words: Path | None) -> Iterator[tuple[str, list[bytes]]]:
    """Our own tokens; and 151,936, with the commonest words of a corpus, as Qwen's are."""
    from vist2_memory.model.tokenizer import Vist2Tokenizer

    tokenizer = Vist2Tokenizer.load(TINY)
    tokens = [tokenizer.bytes_of(i) for i in range(len(tokenizer))]
    yield "vist2-tiny", tokens
    if words is not None:
        counts: Counter[bytes] = Counter()
        with lzma.open(words, "rt", encoding="utf-8") as lines:
            for line in lines:
                text = json.loads(line)["text"]
                counts.update(found.encode() for found in re.findall(r" ?\w+| ?[^\w\s]+", text))
                counts.update(f" {pair}".encode() for pair in re.findall(r"\w+ \w+", text))
        large = dict.fromkeys([*tokens, *(word for word, _ in counts.most_common(300_000))])
        yield "large", list(large)[:151_936]


def measure(words: Path | None) -> dict[str, Any]:
    """Times in milliseconds (medians), and what becomes of each schema."""
    found: dict[str, Any] = {}
    for name, tokens in vocabularies(words):
        stop = 5
        longest = {data: i for i, data in reversed(list(enumerate(tokens))) if i > 15}

        def encode(text: bytes, longest: dict[bytes, int] = longest) -> list[int]:
            ids = []
            while text:
                size = next(n for n in range(min(24, len(text)), 0, -1) if text[:n] in longest)
                ids.append(longest[text[:size]])
                text = text[size:]
            return ids

        ids = encode(LONG.encode())
        rows: dict[str, dict[str, Any]] = {}
        times: dict[str, dict[str, list[float]]] = {}
        made: dict[str, Any] = {}
        for library in filter(find_spec, LIBRARIES):
            import_module(library)  # xgrammar brings torch: no part of its start-up
            begun = time.perf_counter()
            made[library] = LIBRARIES[library](tokens, stop, encode)
            rows[library] = {"start-up": round(1000 * (time.perf_counter() - begun), 1)}
            times[library] = {"compile": [], "first mask": [], "mask": []}
        for _ in range(ROUNDS):
            for library, own in made.items():
                begun = time.perf_counter()
                state = own.start(own.compile(CASES["strings"][0]))
                times[library]["compile"].append(time.perf_counter() - begun)
                for number, token in enumerate(ids):
                    begun = time.perf_counter()
                    own.mask(state)
                    kind = "mask" if number else "first mask"
                    times[library][kind].append(time.perf_counter() - begun)
                    assert own.take(state, token), (library, tokens[token])
        for library, own in made.items():
            for kind, seconds in times[library].items():
                rows[library][kind] = round(1000 * statistics.median(seconds), 4)
            rows[library]["schemas"] = {case: keeps(own, case, encode) for case in CASES}
        found[name] = {"tokens": len(tokens), "libraries": rows}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", type=Path, help="a corpus for the large vocabulary")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.words)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, figures in found.items():
        print(f"\n{name}: {figures['tokens']:,} tokens; milliseconds")
        for library, row in figures["libraries"].items():
            schemas = row.pop("schemas")
            kept = [case for case, what in schemas.items() if what == "kept"]
            said = "; ".join(f"{k}: {v}" for k, v in schemas.items() if v != "kept")
            version = importlib.metadata.version(library.replace("_", "-"))
            print(f"  {library} {version}: {row}, kept {len(kept)} of {len(schemas)} ({said})")


if __name__ == "__main__":
    main()
