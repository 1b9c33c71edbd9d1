"""The steps that make tables: notebook, tables made, and tables of earlier steps that are read.

Result paths, the list of published tables, the run list and the workflow's rules are derived from `STEPS`. The code of a step is in
`kn_utils/chapters/<name>/table.py`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One step. The first of `tables` has the step's name; the others are made together with it."""

    notebook: str
    tables: tuple[str, ...]
    needs: tuple[str, ...] = ()
    unpublished: tuple[str, ...] = ()  # too large, or with sentences of other people
    web_sentences: bool = False  # whether it needs a data set with web sentences

    @property
    def name(self) -> str:
        """The name of the step, of its chapter's folder and of its first table."""
        return self.tables[0]


STEPS = (
    Step("01_attribution", ("attribution", "facts", "prompts", "completeness"), unpublished=("attribution",)),
    Step("02_knowledge_neurons", ("knowledge_neurons", "refinement"), needs=("attribution", "facts", "completeness")),
    Step("03_modify_activation", ("modify_activation",), needs=("knowledge_neurons", "attribution", "facts")),
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
    Step(
        "06_edit_facts",
        ("edit_facts", "edit_strength", "edit_candidates"),
        needs=("knowledge_neurons", "attribution", "prompts", "facts"),
    ),
    Step("07_erase_relation", ("erase_relation", "erase_facts", "erase_dose"), needs=("knowledge_neurons",)),
    Step("12_is_it_knowledge", ("is_it_knowledge",), needs=("prompts", "facts")),
    Step("13_fact_or_word", ("fact_or_word",), needs=("knowledge_neurons", "prompts", "facts")),
    Step("14_which_score", ("which_score", "score_sets"), needs=("prompts", "facts")),
    Step("15_how_much_passes", ("how_much_passes",), needs=("knowledge_neurons", "prompts", "facts")),
    Step("16_does_it_help_editing", ("does_it_help_editing",), needs=("knowledge_neurons", "prompts", "facts")),
    Step("17_how_few", ("how_few",), needs=("prompts", "facts")),
)
STEP_OF = {table: step for step in STEPS for table in step.tables}
PUBLISHED = tuple(table for step in STEPS for table in step.tables if table not in step.unpublished)


def upstream(step: Step) -> tuple[str, ...]:
    """Return the names of the earlier steps whose tables a step reads."""
    return tuple(dict.fromkeys(STEP_OF[table].name for table in step.needs))
