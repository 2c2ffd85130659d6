"""Tokens of every right and wrong kind."""

import array
import ctypes
import struct
from typing import Any

import numpy as np
import pytest

import kvtrie
from kvtrie import Namespace, PrefixCache, Prompt, TokenError

TOKENS = [0, 1, 7, 2**31, 2**32 - 1, 5, 6, 8]
SMALL = list(range(8))


class Tensor:
    """A tensor that exports nothing but DLPack."""

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers

    def __dlpack__(self) -> Any:
        return self.numbers.__dlpack__()


class Number:
    """An integer by its `__index__`."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number


def misaligned(dtype: str) -> np.ndarray:
    numbers = np.array(SMALL, dtype)
    return np.frombuffer(b"x" + numbers.tobytes(), dtype, offset=1)


RIGHT = {
    "list": TOKENS,
    "tuple": tuple(TOKENS),
    "uint32": np.array(TOKENS, np.uint32),
    "int32": np.array(TOKENS, np.uint32).view(np.int32),
    "int64": np.array(TOKENS, np.int64),
    "uint64": np.array(TOKENS, np.uint64),
    "array I": array.array("I", TOKENS),
    "array l": array.array("l", TOKENS),
    "array Q": array.array("Q", TOKENS),
    "ctypes": (ctypes.c_uint32 * 8)(*TOKENS),
    "memoryview": memoryview(array.array("I", TOKENS)),
    "cast bytes": memoryview(struct.pack("8I", *TOKENS)).cast("I"),
    "read-only": np.frombuffer(struct.pack("8I", *TOKENS), np.uint32),
    "little-endian": np.array(TOKENS, "<u4"),
    "tensor u32": Tensor(np.array(TOKENS, np.uint32)),
    "tensor i64": Tensor(np.array(TOKENS, np.int64)),
    "part of a tensor": Tensor(np.array([9, *TOKENS, 9], np.uint32)[1:-1]),
    "column": np.array([TOKENS], np.uint32)[0],
    "numbers of NumPy": list(np.array(TOKENS, np.uint32)),
    "numbers by index": [Number(token) for token in TOKENS],
    "iterator": (token for token in TOKENS),
    "prompt": Prompt(TOKENS),
    "prompt of a prompt": Prompt(Prompt(TOKENS)),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_every_kind_of_integers_is_read(
    kind: str, cache: PrefixCache, model: Namespace
) -> None:
    given = RIGHT[kind]
    cache.lookup(model, []).publish(TOKENS, cache.allocate(2))
    if kind == "iterator":
        given = list(TOKENS)
        assert cache.peek(model, iter(given)) == 8
    assert cache.peek(model, given) == 8
    assert cache.lookup(model, given).token_count == 8
    assert cache.lookup_prefill(model, given).token_count == 4
    assert cache.sequence(model, given).tokens().tolist() == TOKENS
    assert len(Prompt(given)) == 8
    start = model.hash
    assert cache.compute_block_hash(start, given) == cache.lookup(model, TOKENS).hash


@pytest.mark.parametrize("kind", [kind for kind in RIGHT if kind != "iterator"])
def test_every_kind_of_integers_is_published(
    kind: str, cache: PrefixCache, model: Namespace
) -> None:
    cache.lookup(model, []).publish(RIGHT[kind], cache.allocate(2))
    assert cache.peek(model, TOKENS) == 8


@pytest.mark.parametrize("dtype", ["u4", "i4", "i8", "u8"])
def test_integers_need_not_be_aligned(
    dtype: str, cache: PrefixCache, model: Namespace
) -> None:
    cache.lookup(model, []).publish(SMALL, cache.allocate(2))
    assert cache.peek(model, misaligned(dtype)) == 8


@pytest.mark.parametrize("kind", ["u32", "i64"])
def test_torch_tensors_are_read_and_written(
    kind: str, cache: PrefixCache, model: Namespace
) -> None:
    torch = pytest.importorskip("torch")
    dtype = {"u32": torch.int32, "i64": torch.int64}[kind]
    tokens = torch.arange(8, dtype=dtype)
    hold = cache.lookup(model, [])
    hold.publish(tokens, cache.allocate(2))
    assert cache.lookup(model, tokens).token_count == 8
    table = torch.full((3, 4), -1, dtype=torch.int32)
    assert hold.block_table_into(table[1]) == 2
    assert table[1].tolist() == [*hold.block_table().tolist(), -1, -1]
    assert table[0].tolist() == table[2].tolist() == [-1] * 4


LONG = ["array", "view", "tensor", "read-only", "bytearray", "bytes", "cast"]


@pytest.mark.parametrize("kind", LONG)
def test_long_buffers_are_read_with_and_without_a_copy(kind: str) -> None:
    """Beyond 131,072 tokens: copied, unless they are in memory of a `bytes` object."""
    tokens = np.arange(144_000, dtype=np.uint32)
    packed = tokens.tobytes()
    read_only = tokens.copy()
    read_only.flags.writeable = False
    given = {
        "array": tokens,
        "view": np.arange(150_000, dtype=np.uint32)[:144_000],
        "tensor": Tensor(tokens),
        "read-only": read_only,
        "bytearray": np.frombuffer(bytearray(packed), np.uint32),
        "bytes": np.frombuffer(b"1234" + packed, np.uint32)[1:],
        "cast": memoryview(packed).cast("I"),
    }[kind]
    cache = PrefixCache(9_000, 16)
    model = cache.namespace("model")
    hold = cache.lookup(model, given)
    assert hold.token_count == 0
    hold.publish(given, cache.allocate(9_000))
    assert cache.peek(model, given) == cache.lookup(model, given).token_count == 144_000
    assert cache.lookup_prefill(model, given).token_count == 143_984


@pytest.mark.parametrize("empty", [[], (), np.zeros(0, np.uint32), np.zeros(0, np.int64)])
def test_no_tokens_are_tokens(empty: Any, cache: PrefixCache, model: Namespace) -> None:
    assert cache.lookup(model, empty).token_count == 0
    assert len(cache.sequence(model, empty)) == 0
    assert len(cache.lookup(model, []).publish(empty, cache.allocate(0))) == 0


@pytest.mark.parametrize(
    ("wrong", "index", "what"),
    [
        ([1, 2, -1], 2, "-1"),
        ((1, 2**32), 1, "4294967296"),
        ([1, 2**64], 1, str(2**64)),
        ([-(2**64)], 0, str(-(2**64))),
        ([1, "a"], 1, "'a'"),
        ([1, 2.0], 1, "2.0"),
        ([None], 0, "None"),
        ("text", 0, "'t'"),
        ([[1, 2]], 0, r"\[1, 2\]"),
        (np.array([1, 2, 3, -7]), 3, "-7"),
        (np.array([1, 2**32 + 5], np.uint64), 1, "4294967301"),
        (np.array([2**64 - 1], np.uint64), 0, "18446744073709551615"),
        (Tensor(np.array([3, -9])), 1, "-9"),
        (iter([1, -2]), 1, "-2"),
    ],
)
def test_a_wrong_token_is_named(
    wrong: Any, index: int, what: str, cache: PrefixCache, model: Namespace
) -> None:
    with pytest.raises(TokenError, match=f"token {index} is {what}: a token is") as refused:
        cache.lookup(model, wrong)
    assert refused.value.index == index


@pytest.mark.parametrize(
    ("wrong", "error", "what"),
    [
        (np.zeros(4), TypeError, "byte order, not float64"),
        (np.zeros(4, bool), TypeError, "byte order, not bool"),
        (np.zeros(4, np.int16), TypeError, "byte order, not int16"),
        (np.zeros(4, ">u4"), TypeError, "byte order, not >u4"),
        (np.zeros(4, ">i8"), TypeError, "byte order, not >i8"),
        (np.zeros(4, object), TypeError, "byte order, not object"),
        (memoryview(np.zeros(4)), TypeError, 'format "d"'),
        (memoryview(np.zeros(4, bool)), TypeError, r'format "\?"'),
        (memoryview(np.zeros(4, ">u4")), TypeError, 'format ">I"'),
        (memoryview(np.zeros(8, np.uint32)[::2]), ValueError, "gaps"),
        (memoryview(np.zeros((2, 4), np.uint32)), ValueError, "2 dimensions"),
        (array.array("h", SMALL), TypeError, 'format "h"'),
        (b"bytes", TypeError, 'format "B"'),
        (bytearray(8), TypeError, 'format "B"'),
        (np.zeros(8, np.uint32)[::2], ValueError, "gaps"),
        (np.zeros((2, 4), np.uint32), ValueError, "2 dimensions"),
        (np.array(5, np.uint32), ValueError, "0 dimensions"),
        (Tensor(np.zeros(4)), TypeError, "DLPack's type 2"),
        (Tensor(np.zeros(4, np.int8)), TypeError, "DLPack's type 0"),
        (Tensor(np.zeros((2, 2), np.int64)), ValueError, "2 dimensions"),
        (Tensor(np.zeros(8, np.int64)[::2]), ValueError, "gaps"),
        (Tensor(np.array(5)), ValueError, "0 dimensions"),
        (5, TypeError, "int"),
        (None, TypeError, "None"),
        (object(), TypeError, "object"),
    ],
)
def test_what_holds_no_tokens_is_refused(
    wrong: Any, error: type[Exception], what: str, cache: PrefixCache, model: Namespace
) -> None:
    for call in (cache.lookup, cache.lookup_prefill, cache.peek, cache.sequence):
        with pytest.raises(error, match=what):
            call(model, wrong)
    blocks = cache.allocate(1)
    with pytest.raises(error, match=what):
        cache.lookup(model, []).publish(wrong, blocks)
    assert len(blocks) == 1


@pytest.mark.parametrize(
    ("row", "error", "what"),
    [
        (np.zeros(1, np.int32), ValueError, "a row of 1 has no room for 2 blocks"),
        (np.zeros(2, np.int64), TypeError, "^a row must be int32 or uint32, not int64$"),
        (np.zeros(2, np.float32), TypeError, "^a row must be int32 or uint32, not float32$"),
        (memoryview(np.zeros(2)), TypeError, 'int32 or uint32, not items of format "d"'),
        (Tensor(np.zeros(2, np.int64)), TypeError, "not DLPack's type 0 of 64 bits"),
        (memoryview(bytes(8)).cast("i"), TypeError, "read-only"),
        (np.zeros(4, np.int32)[::2], ValueError, "gaps"),
        (np.zeros((2, 2), np.int32), ValueError, "2 dimensions"),
        (misaligned("i4"), TypeError, "read-only"),
        (np.frombuffer(bytearray(33), "i4", offset=1), TypeError, "aligned"),
        ([0, 0], TypeError, "an array or a tensor"),
    ],
)
def test_what_is_no_row_is_refused(
    row: Any, error: type[Exception], what: str, cache: PrefixCache, model: Namespace
) -> None:
    hold = cache.lookup(model, [])
    hold.publish(SMALL, cache.allocate(2))
    with pytest.raises(error, match=what):
        hold.block_table_into(row)


def test_a_list_may_change_while_it_is_read(cache: PrefixCache, model: Namespace) -> None:
    class Shrinking(Number):
        def __index__(self) -> int:
            tokens.clear()
            return super().__index__()

    tokens: list[Any] = [1, Shrinking(2), 3, 4]
    assert len(Prompt(tokens)) == 2
    tokens = [1, Growing := Number(2)]
    assert len(Prompt(tokens)) == 2 and Growing.number == 2


def test_an_exporter_that_fails_is_heard(cache: PrefixCache, model: Namespace) -> None:
    class Broken:
        def __dlpack__(self) -> Any:
            raise RuntimeError("no memory for you")

    with pytest.raises(RuntimeError, match="no memory for you"):
        cache.lookup(model, Broken())

    class Lying:
        def __dlpack__(self) -> Any:
            return "no capsule"

    with pytest.raises(TypeError):
        cache.lookup(model, Lying())


def test_arrays_are_released(cache: PrefixCache, model: Namespace) -> None:
    """An exporter cannot be resized while a call has its memory."""
    tokens = array.array("I", SMALL)
    cache.lookup(model, tokens)
    tokens.append(1)
    with pytest.raises(ValueError):
        Prompt(memoryview(tokens).cast("B").cast("I", (3, 3)))
    tokens.append(2)


def test_long_tokens_are_the_same_without_the_gil() -> None:
    tokens = np.random.default_rng(7).integers(0, 2**32, 100_000, np.uint32)
    cache = PrefixCache(blocks=50_000, block_size=2)
    model = cache.namespace("model")
    cache.lookup(model, []).publish(tokens, cache.allocate(50_000))
    for given in (tokens, tokens.astype(np.int64), tokens.tolist(), Prompt(tokens)):
        assert cache.peek(model, given) == 100_000
    assert cache.lookup(model, tokens[:99_999]).token_count == 99_998
    assert np.array_equal(cache.sequence(model, tokens).tokens(), tokens)
