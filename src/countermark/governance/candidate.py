"""From the files of a build to a candidate: what is proposed, bound by digests, taken from one commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from countermark.errors import RegistryError
from countermark.governance.gates import controls_of, gates_of, tests_of
from countermark.governance.inputs import Stages, locked_stages, require_same_inputs
from countermark.governance.store import CandidateStore, md5_hex
from countermark.portfolio.dag import OUT, REPORT
from countermark.records.digest import digest_of, sha256_hex
from countermark.records.evidence import Pack
from countermark.records.release import ReleaseRef
from countermark.records.signoff import bound_digests
from countermark.registry.bodies import Attachment, CandidateFile, ProposalBody
from countermark.registry.git import Git
from countermark.registry.standing import ReleaseState
from countermark.registry.state import RegistryState
from countermark.report.reading import read_pack
from countermark.validation.sealing import wrong_digests

PACK, DRAFT, SCORER, PROFILE = "pack.json", "validation_pack.pdf", "scorer.json", "profile.json"
_REQUIRED = (PACK, DRAFT, SCORER, PROFILE)
"""Files without which nothing can be released."""
BOUND_NAMES = ("results", "evidence", "scorer", "decision", "data", "policy", "spec", "lock", "semantics")
Change = str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A built model, ready to be proposed.

    Attributes:
        ref: The release that it wants to be.
        pack: Its pack.
        commit: The commit that describes it.
        files: Its files.
    """

    ref: ReleaseRef
    pack: Pack
    commit: str
    files: tuple[CandidateFile, ...]


def read_candidate(root: Path, model: str, git: Git) -> Candidate:
    """Read a built model, and hold it against the commit that is checked out.

    Args:
        root: The bank's folder.
        model: Name of the model.
        git: The bank's repository.

    Raises:
        RegistryError: If something is not committed, not built, not what the lock file of the commit says, or was built
            from other files than there are now.
    """
    _require_committed(root, model, git)
    commit = git.commit_of("HEAD")
    stages = _locked(root, model, git)
    files = tuple(_files(root, model, {out["path"]: out for stage in stages.values() for out in stage.get("outs", ())}))
    names = {file.name for file in files}
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise RegistryError(
            f"the build of '{model}' has no '{missing[0]}'",
            hint=f"countermark build {model}, then commit",
            file=f"models/{model}/dvc.lock",
        )
    pack = verified_pack((root / REPORT.format(model=model) / PACK).read_bytes())
    scorer = next(file for file in files if file.name == SCORER)
    if pack.digests.get("scorer") != scorer.sha256:
        raise RegistryError(
            "the scorer is not the one that the pack was made with",
            expected=str(pack.digests.get("scorer")),
            got=scorer.sha256,
            hint=f"countermark build {model}",
        )
    require_same_inputs(root, model, stages, git)
    return Candidate(ReleaseRef(model, str(pack.identity.get("version"))), pack, commit, files)


def verified_pack(data: bytes) -> Pack:
    """Read a pack and recompute its digests.

    Raises:
        ReportError: If the pack is not whole.
        RegistryError: If a digest in it is not what its content gives.
    """
    pack = read_pack(data)
    wrong = [*wrong_digests(pack), *(name for name, part in _parts(pack).items() if digest_of(part[1]) != part[0])]
    if wrong:
        raise RegistryError(
            f"the pack states a wrong {' and '.join(wrong)} digest",
            expected="digests that follow from the pack's content",
            hint="the pack was edited, or made by another version; build it again",
        )
    return pack


def _parts(pack: Pack) -> dict[str, tuple[str | None, Any]]:
    """Digests that a pack states of parts of itself: what it states, and the part."""
    stated = bound_digests(pack.digests)
    return {
        "decision": (stated.get("decision"), pack.spec.get("decision")),
        "spec": (stated.get("spec"), pack.spec),
    }


def _require_committed(root: Path, model: str, git: Git) -> None:
    changed = git.run("status", "--porcelain", "--", "conf", f"models/{model}", "sources").decode("utf-8").splitlines()
    if changed:
        raise RegistryError(
            f"'{model}' is not committed as it was built",
            expected="conf/, models/ and sources/ as in HEAD",
            got=", ".join(line[3:] for line in changed[:5]) + (" ..." if len(changed) > 5 else ""),
            hint="git add -A && git commit",
            file=root,
        )


def _locked(root: Path, model: str, git: Git) -> Stages:
    """What the lock file of HEAD says of every stage of the model."""
    stages = locked_stages(root, f"models/{model}/dvc.lock", git)
    if stages is None:
        raise RegistryError(
            f"model '{model}' has no committed build",
            expected=f"models/{model}/dvc.lock in HEAD",
            hint=f"countermark build {model}, then git add -A && git commit",
            file=root,
        )
    return stages


def _files(root: Path, model: str, outs: Mapping[str, Mapping[str, Any]]) -> Iterator[CandidateFile]:
    folders = (OUT.format(model=model) + "/", REPORT.format(model=model) + "/")
    for path, out in sorted(outs.items()):
        # Folders of accepted rows can be made again from the source; the modelling data set is a file.
        if not path.startswith(folders) or str(out.get("md5", "")).endswith(".dir") or path.endswith(".checked"):
            continue
        try:
            data = (root / path).read_bytes()
        except OSError as error:
            raise RegistryError(
                f"'{path}' cannot be read",
                got=error.strerror,
                hint=f"countermark build {model}, where a build has failed since; dvc checkout, where it was built "
                "elsewhere",
                file=path,
            ) from None
        if md5_hex(data) != out.get("md5"):
            raise RegistryError(
                f"'{path}' is not what the committed build made",
                expected=f"md5 {out.get('md5')}",
                got=f"md5 {md5_hex(data)}",
                hint=f"countermark build {model} and commit; or dvc checkout, which brings back what was committed",
                file=path,
            )
        yield CandidateFile(path=path, sha256=sha256_hex(data), md5=md5_hex(data), size=len(data))


def proposal_of(
    candidate: Candidate, state: RegistryState, *, evidence: Sequence[Attachment] = (), note: str = ""
) -> ProposalBody:
    """The body of a proposal.

    Args:
        candidate: The built model.
        state: The registry's state, to say what changed since the last published version.
        evidence: Further evidence by digest.
        note: Words of the proposer.
    """
    pack, spec = candidate.pack, candidate.pack.spec
    change, change_class = change_of(pack, last_published(state, candidate.ref.model))
    environment = digest_of({"lock": pack.digests.get("lock"), "semantics": pack.digests.get("semantics")})
    stated = bound_digests(pack.digests)
    digests = {name: stated[name] for name in BOUND_NAMES if name in stated}
    return ProposalBody(
        release=str(candidate.ref),
        commit=candidate.commit,
        tier=int(str(pack.identity.get("tier"))),
        change=change,
        change_class=change_class,
        owner=str(spec["identity"]["owner"]),
        developers=(str(spec["identity"]["developer"]),),
        digests={**digests, **_file_digests(candidate), "pack": pack.pack_hash, "environment": environment},
        files=candidate.files,
        gates=gates_of(pack),
        controls=controls_of(pack),
        opinion=pack.summary.opinion,
        evidence=tuple(evidence),
        note=note,
    )


def _file_digests(candidate: Candidate) -> dict[str, str]:
    """Digest of the reference profile, so that an approval can name it."""
    found = next((file.sha256 for file in candidate.files if file.name == PROFILE), None)
    return {} if found is None else {"profile": found}


def last_published(state: RegistryState, model: str) -> ReleaseState | None:
    """The newest published version of a model that is not archived, or None."""
    published = [r for r in state.releases.values() if r.ref.model == model and r.status in ("published", "prod")]
    return max(published, key=lambda release: release.ref.order, default=None)


def change_of(pack: Pack, before: ReleaseState | None) -> tuple[Any, str]:
    """What kind of change a pack is, and what the bank's policy calls it.

    A new cut-off or reason text is not a new model: where the scorer is the same and the decision policy is not, the
    change is of kind ``policy`` and has its own class.
    """
    classes = pack.spec["policy"]["change_class"]
    if before is None:
        return "model", "new model"
    old = before.proposal.digests
    new = bound_digests(pack.digests)
    if new.get("scorer") != old.get("scorer") or new.get("results") != old.get("results"):
        return "model", str(classes["scores"])
    if new.get("decision") != old.get("decision"):
        return "policy", "decision policy"
    if new.get("evidence") != old.get("evidence"):
        return "evidence", str(classes["evidence"])
    return "document", str(classes["document"])


def differing_digests(pack: Pack, release: ReleaseState) -> list[str]:
    """Names of the digests in which a pack is not the one that was proposed."""
    own, proposed = bound_digests(pack.digests), release.proposal.digests
    return [name for name in BOUND_NAMES if own.get(name) != proposed.get(name)]


def candidate_pack(store: CandidateStore, release: ReleaseState) -> Pack:
    """The pack of a candidate by its digest, verified and held against the proposal.

    Raises:
        RegistryError: If the proposal does not say what the pack says.
    """
    pack = verified_pack(candidate_file(store, release, PACK))
    stated = release.proposal
    differing = differing_digests(pack, release)
    if pack.pack_hash != stated.digests.get("pack"):
        differing.append("pack")
    if differing:
        raise RegistryError(
            f"the proposal of '{release.ref}' states another {' and '.join(differing)} digest than its pack",
            hint=f"countermark release reject {release.ref}",
        )
    gates = gates_of(pack)
    if release.publication is not None and stated.gates == tests_of(pack):
        # Published before texts that nobody has written were a gate: what is published is not judged again.
        gates = stated.gates
    told = {
        "gates": (stated.gates, gates),
        "controls": (stated.controls, controls_of(pack)),
        "tier": (stated.tier, pack.identity.get("tier")),
        "developers": (stated.developers, (str(pack.spec["identity"]["developer"]),)),
        "opinion": (stated.opinion, pack.summary.opinion),
        "version": (release.ref, ReleaseRef(str(pack.identity.get("id")), str(pack.identity.get("version")))),
    }
    false = [name for name, (said, is_) in told.items() if said != is_]
    if false:
        raise RegistryError(
            f"the proposal of '{release.ref}' tells other {', '.join(false)} than its pack",
            expected="what the pack says",
            hint=f"countermark release reject {release.ref}",
        )
    return pack


def candidate_file(store: CandidateStore, release: ReleaseState, name: str) -> bytes:
    """Content of one of a candidate's files, by its name.

    Raises:
        RegistryError: If the candidate has no such file, or it cannot be found whole.
    """
    file = next((file for file in release.proposal.files if file.name == name), None)
    if file is None:
        raise RegistryError(
            f"the candidate of '{release.ref}' has no '{name}'",
            expected="one of: " + ", ".join(f.name for f in release.proposal.files),
            hint=f"build and commit '{release.ref.model}' under a new version, and propose it",
        )
    return store.read(file)
