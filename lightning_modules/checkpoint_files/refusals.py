"""What a file is that holds no weights torch can read, for the end of a sentence."""

import tarfile
from pathlib import Path

_LFS = "is a pointer of git-lfs, the file itself was not fetched: run `git lfs pull`"
_PAGE = "is a web page, not weights: the download met a login or an error; fetch it again"
KERAS = "is a Keras or TensorFlow file (HDF5): export it to ONNX (tf2onnx) and give that file"
TENSORFLOW = "is a model of TensorFlow: export it to ONNX (tf2onnx) and give that file"
_PACKED = "is packed (WHAT): unpack it and give the file inside"
_OTHER = "is a model of WHAT, which torch cannot read: export it to ONNX"
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", _LFS),
    (0, b"/annex/objects", "is a pointer of git-annex, not the file: run `git annex get`"),
    (0, b"outs:", "is a pointer of DVC, not the file: run `dvc pull`"),
    (0, b"\x89HDF\r\n\x1a\n", KERAS),
    (4, b"TFL3", "is a model of TensorFlow Lite: export the original to ONNX (tf2onnx)"),
    (4, b"ET12", _OTHER.replace("WHAT", "ExecuTorch")),
    (0, b"GGUF", _OTHER.replace("WHAT", "llama.cpp (GGUF)")),
    (0, b"ftrt", _OTHER.replace("WHAT", "TensorRT")),
    (0, b"ptrt", _OTHER.replace("WHAT", "TensorRT")),
    (0, b"\x12\x01\0\0\0\0\0\0", _OTHER.replace("WHAT", "MXNet")),
    (0, b"MATLAB 5.0", _OTHER.replace("WHAT", "MATLAB")),
    (0, b"\x1f\x8b", _PACKED.replace("WHAT", "gzip")),
    (0, b"BZh", _PACKED.replace("WHAT", "bzip2")),
    (0, b"\xfd7zXZ", _PACKED.replace("WHAT", "xz")),
    (0, b"7z\xbc\xaf", _PACKED.replace("WHAT", "7z")),
    (0, b"Rar!", _PACKED.replace("WHAT", "rar")),
    (0, b"\x28\xb5\x2f\xfd", _PACKED.replace("WHAT", "zstd")),
    (0, b"\x89PNG", "is a picture (PNG), not weights"),
    (0, b"\xff\xd8\xff", "is a picture (JPEG), not weights"),
    (0, b"%PDF", "is a PDF document, not weights"),
    (0, b"SQLite format 3", "is a SQLite database, not weights"),
    (0, b"\x7fELF", "is a program or library, not weights"),
)
_SUFFIXES = {
    ".pb": TENSORFLOW,
    ".index": TENSORFLOW,
    ".data-00000-of-00001": TENSORFLOW,
    ".caffemodel": _OTHER.replace("WHAT", "Caffe"),
    ".mlmodel": _OTHER.replace("WHAT", "Core ML"),
    ".msgpack": _OTHER.replace("WHAT", "Flax"),
    ".pdparams": _OTHER.replace("WHAT", "PaddlePaddle"),
}


def refusal(path: Path, start: bytes) -> str | None:
    """Says what a file is that is no checkpoint, for the end of a sentence; None if unknown."""
    for offset, magic, words in _MAGIC:
        if start[offset : offset + len(magic)] == magic:
            return words
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<error")):
        return _PAGE
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if start and start.count(0) == len(start):
        return f"({path.stat().st_size:,} bytes) is filled with zeros: copy it again"
    if _is_tar(path):
        return _tar(path)
    size = f"({path.stat().st_size:,} bytes)"
    if start and _is_text(start):
        words = " ".join(start[:60].decode(errors="replace").split())
        return f'{size} is text, not weights: it begins with "{words}"; fetch it again'
    return None


def _is_text(start: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start)


def _is_tar(path: Path) -> bool:
    return tarfile.is_tarfile(path) if path.stat().st_size >= 512 else False


def _tar(path: Path) -> str:
    with tarfile.open(path) as archive:
        names = [member.name for _, member in zip(range(4), archive, strict=False)]
    if {"pickle", "storages", "tensors"} & set(names):
        return (
            "was written by torch before 0.1.10 (a tar of pickles): load it there or with an old "
            "torch, and save its state_dict() anew"
        )
    listed = ", ".join(names[:3]) or "nothing"
    return f"is a tar archive of {listed}: unpack it and give the file inside"
