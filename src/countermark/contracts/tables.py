"""Tables on disk: one Parquet form, and a digest of what a table says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from countermark.errors import SourceError

ROW_GROUP = 65_536
ZSTD_LEVEL = 3


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet, the same bytes for the same table and library version.

    The file appears whole or not at all: it is written beside its place and renamed.

    Args:
        path: Where to write; the folder must exist.
        table: Any table; pandas and other schema metadata are dropped.
    """
    plain = table.combine_chunks().replace_schema_metadata(None)
    unfinished = path.with_name(path.name + ".part")
    try:
        pq.write_table(
            plain,
            unfinished,
            row_group_size=ROW_GROUP,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            version="2.6",
            data_page_version="1.0",
        )
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_table(path: Path) -> pa.Table:
    """Read a Parquet file.

    Raises:
        SourceError: If the file is missing, may not be read, or is not Parquet.
    """
    try:
        table = pq.read_table(path, use_threads=False)
    except FileNotFoundError as error:
        raise SourceError("there is no such file", file=path, hint="check the path, or run the stage before") from error
    except PermissionError as error:
        raise SourceError(
            "no permission to read the file", file=path, hint="check the file's owner and mode"
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise SourceError("the file is not readable as Parquet", file=path, hint="write it again") from error
    return table.replace_schema_metadata(None)


def content_digest(table: pa.Table) -> str:
    """SHA-256 of column names, types and values in row order, whatever the file format or chunking.

    Text counts by its UTF-8 bytes, numbers by their little-endian bytes, nulls by their place.
    """
    digest = hashlib.sha256(b"countermark-table-1\n")
    digest.update(table.num_rows.to_bytes(8, "little"))
    for name in table.column_names:
        _digest_column(digest, name, _plain_array(table.column(name)))
    return digest.hexdigest()


def _plain_array(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=array.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        array = array.cast(pa.string())
    return array


def _digest_column(digest: hashlib._Hash, name: str, array: pa.Array) -> None:
    label = f"{name}\x00{array.type}\x00".encode()
    digest.update(len(label).to_bytes(8, "little") + label)
    digest.update(np.packbits(array.is_null().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_null(array.type):
        return
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.string())
    if pa.types.is_string(array.type):
        filled = pc.fill_null(array, "")
        digest.update(pc.binary_length(filled).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
        digest.update("".join(filled.to_pylist()).encode("utf-8"))
        return
    if pa.types.is_date32(array.type):
        array = array.cast(pa.int32())
    elif pa.types.is_temporal(array.type):
        array = array.cast(pa.int64())
    values = pc.fill_null(array, pa.scalar(0).cast(array.type)).to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), np.nan, values) + 0.0  # one NaN, no negative zero
    digest.update(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).tobytes())
