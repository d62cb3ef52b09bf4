"""Checkpoints as somebody might write them to do harm, and values that can be put into a checkpoint by torch."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Load a checkpoint by torch alone, change its values, and save it again."""
    values = torch.load(path, weights_only=True)
    change(values)
    torch.save(values, path)


def doubled(times: int = 26) -> list[Any]:
    """A list that holds itself twice, so many times over: a few bytes that show as gigabytes."""
    values: list[Any] = []
    for _ in range(times):
        values = [values, values]
    return values


def within_itself() -> list[Any]:
    """A list that is its own entry."""
    values: list[Any] = []
    values.append(values)
    return values


def blocks_named_often(path: Path, times: int) -> None:
    """Name the largest block of an archive by many entries of its directory, all at the same place."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        buffer = io.BytesIO(path.read_bytes())
        content = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        target = archive.getinfo(largest.filename)
        for number in range(times):
            again = zipfile.ZipInfo(f"{largest.filename}{number:06}")
            again.header_offset, again.CRC = target.header_offset, target.CRC
            again.file_size = again.compress_size = target.file_size
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
        archive._didModify = True
    path.write_bytes(buffer.getvalue())


def quantised() -> torch.Tensor:
    """A tensor of eight-bit numbers with a scale."""
    return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)


TENSORS: dict[str, Callable[[torch.Tensor], Any]] = {
    "complex": lambda value: value.to(torch.complex64),
    "double": lambda value: value.double(),
    "half": lambda value: value.half(),
    "whole": lambda value: value.long(),
    "truth": lambda value: value.bool(),
    "float8": lambda value: value.to(torch.float8_e4m3fn),
    "sparse": lambda value: value.to_sparse() if value.dim() else value.reshape(1).to_sparse(),
    "quantised": lambda value: quantised(),
    "parameter": lambda value: torch.nn.Parameter(value.float()),
    "meta": lambda value: value.to("meta"),
    "longer": lambda value: torch.cat([value.reshape(-1), value.reshape(-1)]),
    "empty": lambda value: value.reshape(-1)[:0],
    "one more axis": lambda value: value[None],
    "expanded": lambda value: torch.zeros(1).expand(10**12),
    "not a number": lambda value: torch.full_like(value, torch.nan),
    "infinite": lambda value: torch.full_like(value, -torch.inf),
    "none": lambda value: None,
    "text": lambda value: "tensor",
    "list": lambda value: [1.0],
    "number": lambda value: 1.0,
    "doubled": lambda value: doubled(),
    "within itself": lambda value: within_itself(),
}
"""What may be in the place of a float32 tensor; a checkpoint with any of these is refused."""
