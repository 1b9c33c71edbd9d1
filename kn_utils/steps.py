"""The steps that make tables: each one's notebook, the tables it makes, and the tables of earlier steps that it reads.

Result paths, what is published, the run list and the workflow's rules are derived from `STEPS`. A step's code is
`kn_utils/chapters/<name>/table.py`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """A step of the paper; the first of `tables` carries the step's name, the others are made with it."""

    notebook: str
    tables: tuple[str, ...]
    needs: tuple[str, ...] = ()
    unpublished: tuple[str, ...] = ()  # too large for the repository, or other people's sentences
    web_sentences: bool = False  # whether it reads the data set's web sentences, which not every data set has

    @property
    def name(self) -> str:
        """The step's name, which is its chapter's folder and its own table."""
        return self.tables[0]


STEPS = (
    Step("01_attribution", ("attribution", "facts", "prompts", "completeness"), unpublished=("attribution",)),
    Step("02_knowledge_neurons", ("knowledge_neurons", "refinement"), needs=("attribution", "facts", "completeness")),
    Step("03_modify_activation", ("modify_activation",), needs=("knowledge_neurons", "facts")),
    Step(
        "04_distant_prompts",
        ("distant_prompts", "sentences_left_out"),
        needs=("knowledge_neurons", "facts"),
        unpublished=("sentences_left_out",),
        web_sentences=True,
    ),
    Step(
        "05_trigger_examples",
        ("trigger_examples",),
        needs=("distant_prompts", "knowledge_neurons"),
        unpublished=("trigger_examples",),
    ),
    Step("06_edit_facts", ("edit_facts", "edit_strength", "edit_candidates"), needs=("knowledge_neurons", "prompts", "facts")),
    Step("07_erase_relation", ("erase_relation", "erase_facts", "erase_dose"), needs=("knowledge_neurons",)),
)
STEP_OF = {table: step for step in STEPS for table in step.tables}
PUBLISHED = tuple(table for step in STEPS for table in step.tables if table not in step.unpublished)


def upstream(step: Step) -> tuple[str, ...]:
    """Return the earlier steps whose tables a step reads, in their order."""
    return tuple(dict.fromkeys(STEP_OF[table].name for table in step.needs))
