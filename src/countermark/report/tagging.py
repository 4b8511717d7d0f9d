"""What the layout engine leaves out of a tagged PDF, added before the trailer is written.

Running heads become pagination artefacts instead of unattached structure elements, bare spans are merged into
the element around them, header cells get their scope, header ids their tree, and links a description: rules of
ISO 14289-1 (PDF/UA-1), 7.1, 7.5, 7.8 and 7.18.
"""

from __future__ import annotations

import zlib
from typing import Any

import pydyf

_BARE = len(("Type", "S", "K", "Pg", "P"))
_LEVEL = 6


def finish(document: Any, pdf: pydyf.PDF) -> None:
    """Finisher for ``weasyprint.Document.write_pdf``."""
    del document
    objects = {obj.number: obj for obj in pdf.objects}
    root = _target(objects, pdf.catalog["StructTreeRoot"])
    reachable = _reachable(objects, root)
    pages = _pages(objects, pdf, root)
    _merge_spans(objects, pages, reachable)
    _artefacts(objects, pages, frozenset(reachable))
    _scopes(objects, root, reachable)
    _describe_links(objects)
    if "AF" in pdf.catalog:
        # The layout engine lists every attachment twice.
        pdf.catalog["AF"] = pydyf.Array(dict.fromkeys(pdf.catalog["AF"]))
    _settle(pdf)


class _Settled(pydyf.Object):  # type: ignore[misc]
    """A small object that has its bytes already."""

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.number, self.data = original.number, original.data

    data = b""


class _SettledStream(pydyf.Stream):  # type: ignore[misc]
    """A stream that has its bytes already."""

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.number, self.data = original.number, _packed(original)

    data = b""


def _packed(stream: Any) -> bytes:
    if not stream.compress:
        return bytes(stream.data)
    plain = b"\n".join(item if isinstance(item, bytes) else pydyf._to_bytes(item) for item in stream.stream)
    body = zlib.compress(plain, _LEVEL)
    extra = pydyf.Dictionary({**stream.extra, "Filter": "/FlateDecode", "Length": len(body)})
    return b"\n".join((extra.data, b"stream", body, b"endstream"))


def _settle(pdf: pydyf.PDF) -> None:
    """Turn objects into bytes once: the writer asks for them twice, for the file and for its identifier."""
    kept = {id(pdf.catalog), id(pdf.pages), id(pdf.info)}
    for index, obj in enumerate(pdf.objects):
        if id(obj) in kept or obj.free == "f":
            continue
        pdf.objects[index] = _SettledStream(obj) if isinstance(obj, pydyf.Stream) else _Settled(obj)


def _number(reference: Any) -> int | None:
    if isinstance(reference, bytes) and reference.endswith(b" 0 R"):
        return int(reference.split()[0])
    return None


def _target(objects: dict[int, Any], reference: Any) -> Any:
    number = _number(reference)
    return None if number is None else objects[number]


def _reachable(objects: dict[int, Any], root: Any) -> list[int]:
    """Numbers of all structure elements that hang on the tree, in reading order."""
    found: list[int] = []
    stack = [root]
    while stack:
        element = stack.pop()
        kids = element.get("K", ())
        if isinstance(kids, bytes | int):
            kids = (kids,)
        children = []
        for kid in kids:
            child = _target(objects, kid)
            if isinstance(child, pydyf.Dictionary) and child.get("Type") == "/StructElem":
                children.append(child)
        found.append(element.number)
        stack.extend(reversed(children))
    return found


def _pages(objects: dict[int, Any], pdf: pydyf.PDF, root: Any) -> dict[bytes, tuple[Any, Any]]:
    """Each page and the elements that own its marked content, by the reference of the page."""
    numbers = _target(objects, root["ParentTree"])["Nums"]
    owners = {numbers[k]: numbers[k + 1] for k in range(0, len(numbers), 2)}
    kids = pdf.pages["Kids"]
    pages = (objects[kids[k]] for k in range(0, len(kids), 3))
    return {page.reference: (page, owners[page["StructParents"]]) for page in pages}


def _merge_spans(objects: dict[int, Any], pages: dict[bytes, tuple[Any, Any]], reachable: list[int]) -> None:
    """Hand the text of a bare span to the element around it: half of all elements say nothing of their own."""
    for number in reachable:
        element = objects[number]
        kids = element.get("K", ())
        if isinstance(kids, bytes | int):
            continue
        for index, kid in enumerate(kids):
            span = _target(objects, kid)
            if span is None or span.get("S") != "/Span" or len(span) != _BARE or span["Pg"] != element.get("Pg"):
                continue
            content = span["K"]
            if len(content) == 1 and isinstance(content[0], int):
                kids[index] = content[0]
                pages[span["Pg"]][1][content[0]] = element.reference
                span.clear()


def _artefacts(objects: dict[int, Any], pages: dict[bytes, tuple[Any, Any]], inside: frozenset[int]) -> None:
    """Mark content of elements outside the tree as pagination artefacts."""
    for page, owners in pages.values():
        stray = {k for k, owner in enumerate(owners) if (n := _number(owner)) is not None and n not in inside}
        if not stray:
            continue
        stream = _target(objects, page["Contents"]).stream
        for index, operand in enumerate(stream):
            # A marked sequence is three items: tag, property list, operator.
            if isinstance(operand, pydyf.Dictionary) and operand.get("MCID") in stray:
                stream[index - 1] = "/Artifact"
                stream[index] = pydyf.Dictionary({"Type": "/Pagination"})
        for k in stray:
            owners[k] = "null"
    # Nothing points to these elements any more.
    for obj in objects.values():
        if isinstance(obj, pydyf.Dictionary) and obj.get("Type") == "/StructElem" and obj.number not in inside:
            obj.clear()


def _scopes(objects: dict[int, Any], root: Any, reachable: list[int]) -> None:
    names: list[tuple[bytes, Any, Any]] = []
    for number in reachable:
        element = objects[number]
        if element.get("S") != "/TH":
            continue
        group = _target(objects, _target(objects, element["P"])["P"])
        element["A"]["Scope"] = "/Column" if group is not None and group.get("S") == "/THead" else "/Row"
        if "ID" in element:
            names.append((element["ID"].data, element["ID"], element))
    if names:
        names.sort(key=lambda name: name[0])
        root["IDTree"] = pydyf.Dictionary(
            {"Names": pydyf.Array(part for _, key, element in names for part in (key, element.reference))}
        )


def _describe_links(objects: dict[int, Any]) -> None:
    for obj in objects.values():
        if isinstance(obj, pydyf.Dictionary) and obj.get("Subtype") == "/Link":
            obj["Contents"] = pydyf.String(f"Go to {_destination(obj)}")


def _destination(link: Any) -> str:
    target = link.get("Dest")
    name = getattr(target, "string", "") if target is not None else ""
    text = name.decode() if isinstance(name, bytes) else str(name)
    return text.removeprefix("id-").replace("-", " ") or "its place in this document"
