"""Buttons that open a page's notebook in its repository, on Binder and in Colab.

All come from one setting, the environment variable REPOSITORY, such as https://github.com/owner/name; without it there are none. Binder and
Colab open the notebooks of the branch `launch`, which `book/launch.py` makes.
"""

import os
import re

BRANCH = "main"
LAUNCH_BRANCH = "launch"
FRONT_PAGE, TRY_IT = (
    "00_report",
    "11_try_it",
)  # the buttons of the first open the second, where one can ask for a fact of one's own
SECOND_PAGE = "_appendix"  # as in book/pages.py


def configure(app, config):
    """Turn the buttons on. Raises ValueError if REPOSITORY is not the address of a GitHub repository."""
    repository = os.environ.get("REPOSITORY", "").removesuffix("/")
    if not repository:
        return
    match = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+)", repository)
    if not match:
        raise ValueError(f"REPOSITORY is {repository!r}; it must look like https://github.com/owner/name, or be empty")
    owner, name = match.groups()
    config.ogp_site_url = f"https://{owner.lower()}.github.io/{name}/"
    config.html_theme_options |= {
        "repository_url": repository,
        "repository_branch": BRANCH,
        "use_repository_button": True,
        "use_source_button": True,
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        },
    }


def place_source(app, pagename, templatename, context, doctree):
    """Say where a page's source lies: templates in notebooks/, written pages in book/."""
    context["doc_path"] = "" if pagename.startswith("notebooks/") else "book"


def open_template(app, pagename, templatename, context, doctree):
    """Let the buttons of a notebook's second page open the notebook, and launch buttons that of the launch branch."""
    for group in context["header_buttons"]:
        if group.get("label") in ("launch-buttons", "source-buttons"):
            for button in group["buttons"]:
                button["url"] = button["url"].replace(f"{SECOND_PAGE}.ipynb", ".ipynb")
        if group.get("label") == "launch-buttons":
            for button in group["buttons"]:
                button["url"] = launch_address(button["url"])


def launch_address(address):
    """Return the address of a notebook on the launch branch, given Binder's or Colab's address of it on the main branch."""
    return re.sub(
        rf"/{BRANCH}(\?urlpath=lab/tree)?/notebooks/(.*)\.ipynb",
        lambda found: f"/{LAUNCH_BRANCH}{found[1] or ''}/{TRY_IT if found[2] == FRONT_PAGE else found[2]}.ipynb",
        address,
    )


def setup(app):
    app.connect("config-inited", configure)
    app.connect("html-page-context", place_source, priority=100)  # the theme makes its buttons at 500
    app.connect("html-page-context", open_template, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
