"""A reader's edit that can be made passes the checks before it, and is the one that is then made."""

import known_facts
import pytest

from kn_utils.chapters.edit_facts.plans import check_choice, chosen_edit


@pytest.mark.parametrize(
    "subject, new_object", [("", ""), ("Alan Turing Norway", ""), ("Alan Turing Norway", "Lima"), ("", "Lima")]
)
def test_an_edit_that_can_be_made_passes(tmp_path, subject, new_object):
    lm, run = known_facts.trained_run("bert", tmp_path)
    check_choice(lm, run, ["P36", "P101"], subject, new_object)
    edit = chosen_edit(lm, run, ["P36", "P101"], subject, new_object, common_share=0.25)
    assert edit.fact.subject == (subject or edit.fact.subject) and edit.new_object == (new_object or edit.new_object)
