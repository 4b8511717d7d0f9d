"""What the layout engine leaves out of a tagged PDF, added before the trailer is written.

Running heads become pagination artefacts instead of unattached structure elements, header cells get their
scope, header ids their tree, and links a description: rules of ISO 14289-1 (PDF/UA-1), 7.1, 7.5, 7.8 and 7.18.
"""

from __future__ import annotations

from typing import Any

import pydyf


def finish(document: Any, pdf: pydyf.PDF) -> None:
    """Finisher for ``weasyprint.Document.write_pdf``."""
    del document
    objects = {obj.number: obj for obj in pdf.objects}
    root = _target(objects, pdf.catalog["StructTreeRoot"])
    reachable = _reachable(objects, root)
    _artefacts(objects, pdf, root, reachable)
    _scopes(objects, root, reachable)
    _describe_links(objects)
    if "AF" in pdf.catalog:
        # The layout engine lists every attachment twice.
        pdf.catalog["AF"] = pydyf.Array(dict.fromkeys(pdf.catalog["AF"]))


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


def _artefacts(objects: dict[int, Any], pdf: pydyf.PDF, root: Any, reachable: list[int]) -> None:
    """Mark content of elements outside the tree as pagination artefacts."""
    inside = frozenset(reachable)
    numbers = _target(objects, root["ParentTree"])["Nums"]
    by_page = {numbers[k]: numbers[k + 1] for k in range(0, len(numbers), 2)}
    for page in _pages(objects, pdf):
        parents = by_page[page["StructParents"]]
        stray = {k for k, parent in enumerate(parents) if (n := _number(parent)) is not None and n not in inside}
        if not stray:
            continue
        stream = _target(objects, page["Contents"]).stream
        for index, operand in enumerate(stream):
            # A marked sequence is three items: tag, property list, operator.
            if isinstance(operand, pydyf.Dictionary) and operand.get("MCID") in stray:
                stream[index - 1] = "/Artifact"
                stream[index] = pydyf.Dictionary({"Type": "/Pagination"})
        for k in stray:
            parents[k] = "null"
    # Nothing points to these elements any more.
    for obj in objects.values():
        if isinstance(obj, pydyf.Dictionary) and obj.get("Type") == "/StructElem" and obj.number not in inside:
            obj.clear()


def _pages(objects: dict[int, Any], pdf: pydyf.PDF) -> list[Any]:
    kids = pdf.pages["Kids"]
    return [objects[kids[k]] for k in range(0, len(kids), 3)]


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
