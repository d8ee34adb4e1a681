"""What users' own data may be made of beside tensors, and what they raise, in one line that says where."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from stochastic_collapse import user_code
from stochastic_collapse.config import PythonDataSettings
from stochastic_collapse.data.dataset import Dataset, first
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.errors import InputError

from .test_python import loaded


def refused(folder: Path, body: str) -> str:
    """What is said about a callable with this body, after its name."""
    with pytest.raises(InputError) as caught:
        loaded(folder, body)
    begin, _, rest = str(caught.value).partition("own.py:data: ")
    assert begin == f"data.name: python:{folder}/"
    assert "\n" not in rest
    return rest


def of_examples(example: str, count: int = 8) -> str:
    return f"return [Items([{example} for k in range({count})])] * 2"


# --- what an example may be ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[[k, 1], [2.5, 3]]", lambda k: [[k, 1], [2.5, 3]]),
        ("(k, [2.0, 3][k % 2])", lambda k: [k, [2.0, 3][k % 2]]),
        ("k / 2", lambda k: [k / 2]),
        ("[x[k], x[0]]", lambda k: [[3 * k, 3 * k + 1, 3 * k + 2], [0, 1, 2]]),
        ("x[k].bfloat16().requires_grad_()", lambda k: [3 * k, 3 * k + 1, 3 * k + 2]),
        ("x[k].numpy().astype('>f8')", lambda k: [3 * k, 3 * k + 1, 3 * k + 2]),
        ("(int(k) if k % 2 else float(k))", lambda k: [k]),
    ],
)
def test_inputs_are_numbers_of_any_make(value: str, expected: Callable[[int], object], tmp_path: Path) -> None:
    dataset = loaded(tmp_path, of_examples(f"({value}, k % 2)"))
    assert first(dataset.train.inputs).tolist() == [expected(k) for k in range(8)]
    assert dataset.task.kind == "classification"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("k % 3", ("classification", 3)),
        ("k % 2 == 0", ("classification", 2)),
        ("torch.tensor([k % 3])", ("classification", 3)),
        ("np.uint8(k % 3)", ("classification", 3)),
        ("float(k)", ("regression", 1)),
        ("[k, 0.5]", ("regression", 2)),
        ("(k % 3 if k < 4 else 0.5)", ("regression", 1)),
    ],
)
def test_targets_tell_the_task(target: str, expected: tuple[str, int], tmp_path: Path) -> None:
    dataset = loaded(tmp_path, of_examples(f"(x[k], {target})"), normalize=True)
    assert (dataset.task.kind, dataset.task.outputs) == expected


@pytest.mark.parametrize(
    ("mode", "channels", "dtype"),
    [
        ("1", 1, torch.uint8),
        ("L", 1, torch.uint8),
        ("LA", 4, torch.uint8),
        ("P", 3, torch.uint8),
        ("RGB", 3, torch.uint8),
        ("RGBA", 4, torch.uint8),
        ("CMYK", 3, torch.uint8),
        ("I", 1, torch.float32),
        ("I;16", 1, torch.float32),
        ("F", 1, torch.float32),
    ],
)
def test_images_of_pil_in_each_mode(mode: str, channels: int, dtype: torch.dtype, tmp_path: Path) -> None:
    body = f"from PIL import Image\n{of_examples(f'(Image.new({mode!r}, (5, 4)), k % 2)')}"
    dataset = loaded(tmp_path, body)
    assert dataset.task.input_shape == (channels, 4, 5)
    assert first(dataset.train.inputs).dtype == dtype


@pytest.mark.parametrize(
    "make",
    [
        "(e for e in pairs), iter(list(pairs))",
        "{'train': Stream(pairs), 'validation': pairs}",
        "{'test': list(pairs), 'train': tuple(pairs), 'val': None}",
        "[Stream(pairs), pairs]",
    ],
)
def test_sets_that_are_iterated_over(make: str, tmp_path: Path) -> None:
    dataset, wanted = loaded(tmp_path, f"return {make}"), loaded(tmp_path, "return pairs, pairs")
    for part in ("train", "test"):
        found = getattr(dataset, part)
        assert torch.equal(first(found.inputs), first(wanted.train.inputs))
        assert torch.equal(found.targets, wanted.train.targets)


def test_a_stream_may_be_longer_than_there_was_room_for_at_first(tmp_path: Path) -> None:
    dataset = loaded(tmp_path, "s = Stream([(float(k), k % 2) for k in range(1000)])\nreturn s, s")
    assert first(dataset.train.inputs)[:, 0].tolist() == list(range(1000))
    assert len(dataset.test) == 1000


def test_each_example_is_read_once(tmp_path: Path) -> None:
    body = """
class Counted(Items):
    def __init__(self):
        self.items, self.read = x, []
    def __getitem__(self, k):
        assert k not in self.read
        self.read.append(k)
        return x[k], y[k]
return Counted(), Counted()
"""
    assert len(loaded(tmp_path, body).train) == 8


def test_of_several_inputs_others_may_come_in_another_order(tmp_path: Path) -> None:
    body = of_examples("({'a': x[k], 'b': k} if k % 2 else {'b': k, 'a': x[k]}, k % 2)")
    inputs = loaded(tmp_path, body).train.inputs
    assert isinstance(inputs, Mapping)
    assert inputs["b"].flatten().tolist() == list(range(8))


def test_real_targets_are_standardized_by_the_training_set(tmp_path: Path) -> None:
    body = "return TensorDataset(x, x * 2 + 5), TensorDataset(x + 1, x * 2 + 7)"
    dataset = loaded(tmp_path, body, normalize=True)
    raw = 2 * np.arange(24.0).reshape(8, 3) + 5
    for part, wanted in ((dataset.train, raw), (dataset.test, raw + 2)):
        np.testing.assert_allclose(part.targets.numpy(), (wanted - raw.mean(0)) / raw.std(0), rtol=1e-5, atol=1e-6)


# --- what is refused ---


@pytest.mark.parametrize(
    ("example", "says"),
    [
        ("(x[k].to_sparse(), 0)", "train: example 0: input: a Tensor that is no array"),
        ("(x[k].to('meta'), 0)", "train: example 0: input: a Tensor that is no array"),
        ("(x[k].to(torch.float8_e4m3fn), 0)", "train: example 0: input: a Tensor that is no array"),
        ("(x[k].to(torch.complex64), 0)", "train: example 0: input: complex64, expected numbers"),
        ("([x[0], x[0, :2]], 0)", "train: example 0: input: a list that is no array"),
        ("({'a': {'b': 1}, 'c': 2}, 0)", "train: example 0: a: dict, expected a tensor, an array, an image or numbers"),
        ("(x[k], None)", "train: example 0: target: NoneType, expected a tensor"),
        ("(x[k], 'cat')", "train: example 0: target: text, expected numbers"),
        ("(x[k], [1, 2][: 1 + k // 4])", "train: example 4: target: of shape (2,), and those before it have (1,)"),
        ("(x[k][:0], k % 2)", "train: inputs: examples without a number"),
        ("({'a': x[k], 'b': x[k][:0]}, k % 2)", "train: b: examples without a number"),
        ("({'a': x[k], 'b': x[k][:0].long()}, k % 2)", "train: b: examples without a number"),
        ("({'a': x[k], 'b': x[k] / 0}, k % 2)", "train: b: 24 of 24 numbers are NaN"),
        ("({'a': x[k], 'b': -k}, k % 2)", "train: b: a token of -7 in example 1"),
        ("({'a': x[k]} if k else {'b': x[k]}, k % 2)", "train: example 1: inputs a, and those before it have inputs b"),
        ("({'a': x[k]} if k else x[k], k % 2)", "train: example 1: inputs a, and those before it have a lone input"),
        ("({}, 0)", "train: example 0: a target, and no input"),
        ("x[k]", "train: example 0: a Tensor, expected (input, target)"),
        ("(x[k], 3)", "train: targets: all labels are 3, expected two classes or more"),
        ("(x[k], 90 * k)", "train: targets: a label of 630, and so more classes than the 16 examples"),
        ("(x[k], x[k] / 0)", "train: targets: 24 of 24 numbers are NaN"),
        ("(x[k], [k, 1])", "train: targets: of shape (8, 2), expected classes (n,), of one-hot ones their argmax"),
        ("(x[k].long() - 1, k % 2)", "train: inputs: a token of -1 in example 0 (counted from 0)"),
        ("(x[k].long(), torch.tensor([1, 2, -100]))", "train: targets: a token of -100 in example 0"),
    ],
)
def test_examples_that_are_none(example: str, says: str, tmp_path: Path) -> None:
    assert refused(tmp_path, of_examples(example)).startswith(says)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return None", "returned one NoneType; expected two torch Datasets"),
        ("return {}", "returned a mapping with nothing; expected two"),
        ("return 'ab', 'cd'", "train: a str, expected a torch Dataset"),
        ("return pairs, DataLoader(pairs)", "test: a DataLoader, expected the Dataset inside"),
        (
            "class D(Dataset):\n    def __getitem__(self, k):\n        return x[0], 0\nreturn D(), D()",
            "train: a D, expected a torch Dataset, with items and a length or to iterate over",
        ),
        ("Items.__len__ = lambda self: 'a'\nreturn Items(x), pairs", "train: TypeError: 'str' object"),
        ("return pairs, Items([({'a': x[0]}, 0)])", "test: inputs a, and those to train with have a lone input"),
        (
            "t = torch.arange(40).view(4, 10)\nreturn TensorDataset(t, t), TensorDataset(t[:, 1:], t[:, 1:])",
            "test: 8 tokens, and those to train with have 9",
        ),
        (
            "return [Items([({'a': x[k], 'b': x[k, :n]}, k % 2) for k in range(8)]) for n in (2, 3)]",
            "test: b: of shape (3,), and (2,) to train with",
        ),
        (
            "from stochastic_collapse.data.dataset import Dataset, Split\nfrom stochastic_collapse.task import Task\n"
            "return Dataset(Split(x, y), Split(x, y), Task((3,), 1))",
            "train: targets: a label of 1 in example 1 (counted from 0), expected 0 to 0",
        ),
    ],
)
def test_sets_that_are_none(body: str, says: str, tmp_path: Path) -> None:
    assert refused(tmp_path, body).startswith(says)


def test_half_of_an_image_is_no_array(tmp_path: Path) -> None:
    """PIL decodes it no earlier than its numbers are asked for."""
    body = """
import io
from PIL import Image
stream = io.BytesIO()
Image.fromarray(np.random.randint(0, 255, (30, 30, 3), dtype=np.uint8)).save(stream, "PNG")
return [Items([(Image.open(io.BytesIO(stream.getvalue()[:500])), 0)])] * 2
"""
    assert refused(tmp_path, body).startswith("train: example 0: input: a PngImageFile that is no array, ")


# --- what users' code raises ---


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise ValueError('two\\nlines\\n')", ": ValueError: two lines"),
        ("raise ValueError", ": ValueError"),
        ("import sys\nsys.exit(3)", ": SystemExit: 3"),
        ("raise SyntaxError('no file')", ": SyntaxError: no file"),
        ("torch.zeros(2) @ torch.zeros(3)", ": RuntimeError: inconsistent tensor size"),
        ("def stream():\n    yield x[0], 0\n    yield lost\nreturn stream(), pairs", ": NameError: name 'lost' is not"),
    ],
)
def test_the_line_that_raised_is_named(body: str, says: str, tmp_path: Path) -> None:
    said = refused(tmp_path, body)
    begins, rest = said.split(f"{tmp_path}/own.py:")
    number = rest.partition(":")[0]
    assert number.isdecimal()
    assert rest.removeprefix(number).startswith(says)
    assert begins in ("", "train: example 1: ")
    assert "Traceback" not in said


def test_arguments_that_it_does_not_take_are_told_without_a_line_of_ours(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def data(n): ...\n")
    settings = PythonDataSettings(name=f"python:{tmp_path}/own.py:data", arguments={"m": 1})
    with pytest.raises(InputError) as caught:
        load_dataset(settings)
    assert str(caught.value) == f"data.name: {settings.name}: TypeError: data() got an unexpected keyword argument 'm'"


def test_a_message_of_many_lines_is_cut(tmp_path: Path) -> None:
    said = refused(tmp_path, "raise KeyError('\\n'.join(f'name {k}' for k in range(10_000)))")
    assert len(said) < 500 + len(str(tmp_path))
    assert said.endswith(" …")


def of_file(folder: Path, text: str, name: str = "own.py:data") -> Dataset:
    (folder / "own.py").write_text(text)
    return load_dataset(PythonDataSettings(name=f"python:{folder}/{name}"))


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("\n1 / 0\n", "own.py:data", "importing {path} failed: {path}:2: ZeroDivisionError: division by zero"),
        ("def data(:\n", "own.py:data", "importing {path} failed: {path}:1: SyntaxError: "),
        ("raise SystemExit(2)", "own.py:data", "importing {path} failed: {path}:1: SystemExit: 2"),
        ("import not_there_at_all", "own.py:data", "importing {path} failed: {path}:1: ModuleNotFoundError: No module"),
        ("data = 3", "own.py:data", "data is a int, expected something to call"),
        ("def dada(): ...", "own.py:data", "no 'data' in {path}; the nearest names there are dada"),
        ("class A:\n    data = None", "own.py:A.date", "no 'date' in {path}; the nearest names there are data"),
        ("", "owm.py:data", "no file {folder}/owm.py; the nearest names there are own.py"),
        ("", "own:data", "no file {folder}/own"),
    ],
)
def test_what_cannot_be_imported(text: str, name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        of_file(tmp_path, text, name)
    wanted = says.format(path=tmp_path / "own.py", folder=tmp_path)
    assert str(caught.value).startswith(f"data.name: python:{tmp_path}/{name}: {wanted}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["nowhere_at_all:data", "sys:exit", "numpy.nowhere:f", "collections.abc.x:f", ".:f", ":f", "own.py", "own.py:"],
)
def test_modules_that_are_none(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text("")
    with pytest.raises(InputError, match=r"^data\.name: [^\n]*$"):
        load_dataset(PythonDataSettings(name=f"python:{name}"))


def test_the_places_that_imports_look_in_are_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(sys.path)
    monkeypatch.setattr(sys, "path", list(before))
    (tmp_path / "helper_of_own_data.py").write_text("pairs = [(0.0, 0), (1.0, 1)]\n")
    text = "from helper_of_own_data import pairs\n\n\ndef data():\n    return pairs + pairs, pairs + pairs\n"
    assert len(of_file(tmp_path, text).train) == 4
    assert sys.path == before
    text = f"import sys\n\nsys.path.remove({str(tmp_path)!r})\n\n\ndef data():\n    return [[(0.0, 0), (1.0, 1)]] * 2\n"
    assert len(of_file(tmp_path, text).train) == 2
    assert sys.path == before


def test_errors_of_ours_pass_as_they_are(tmp_path: Path) -> None:
    def ours() -> None:
        raise InputError("data.path: said already")

    with pytest.raises(InputError, match=r"^data\.path: said already$"):
        user_code.call(ours, "data.name: own")
