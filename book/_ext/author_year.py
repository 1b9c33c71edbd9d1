"""A style of the list of references: its labels have authors and year, as the citations in the text."""

from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle


class AuthorYearLabels(BaseLabelStyle):
    """Labels such as "Dai et al., 2022"."""

    def format_labels(self, sorted_entries):
        for entry in sorted_entries:
            names = [" ".join(person.prelast_names + person.last_names) for person in entry.persons["author"]]
            yield f"{_shown(names)}, {entry.fields['year']}"


def _shown(names):
    return f"{names[0]} et al." if len(names) > 2 or "others" in names else " and ".join(names)


class AuthorYearStyle(Style):
    """The style `unsrt`, sorted by authors and with these labels."""

    default_label_style = AuthorYearLabels
    default_sorting_style = "author_year_title"


def setup(app):
    register_plugin("pybtex.style.formatting", "author_year", AuthorYearStyle)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
