"""Events of keeping the passage index: switches of editions, and drift."""

from typing import Annotated

from gateway.audit.schema.envelope import Envelope
from gateway.audit.schema.members import Committed, Count, about


class IndexSwitched(Envelope, frozen=True, kw_only=True):
    """Another edition of the passage index serves; written before the switch."""

    store: Annotated[str, about("kind of store")]
    edition: Annotated[str, about("the edition that serves from now on")]
    previous: Annotated[str, about("the one that served before")]
    cause: Annotated[str, about("`build` or `rollback`")]
    embedder: Annotated[str, about("embedding model and version of the edition; empty for that of its ingests")]
    by: Annotated[Committed, about("who switched")]
    forced: Annotated[bool, about("whether it was switched although it finds less")] = False
    questions: Annotated[Count, about("questions that both editions were asked; 0 for a rollback")] = 0
    recall_before_e6: Annotated[Count, about("recall of the edition before, in millionths")] = 0
    recall_e6: Annotated[Count, about("recall of the edition, in millionths")] = 0
    overlap_e6: Annotated[Count, about("share of results that are the same in both, in millionths")] = 0
    left_out: Annotated[Count, about("documents that a rollback removed because they had changed meanwhile")] = 0


class IndexDrifted(Envelope, frozen=True, kw_only=True):
    """A drift report of a tenant's index."""

    alarms: Annotated[list[str], about("what is beyond its bound")]
    queries: Annotated[Count, about("searches in the window")]
    query_psi_e6: Annotated[Count, about("shift of what is asked, in millionths")]
    score_psi_e6: Annotated[Count, about("shift of the best scores, in millionths")]
    empty_e6: Annotated[Count, about("share of searches that found nothing, in millionths")]
    overdue: Annotated[Count, about("documents whose review is overdue or whose validity has ended")]
    canaries: Annotated[Count, about("questions with a known document that were asked")]
    canaries_missed: Annotated[Count, about("how many of them did not find it")]
