"""The buttons of the book's pages come from one setting, the address of the repository."""

import sys
from types import SimpleNamespace

import pytest

from kn_utils.paths import ROOT

sys.path.insert(0, str(ROOT / "book/_ext"))
import repository


@pytest.fixture
def configured(monkeypatch):
    """A function from the setting to the configuration of the book."""

    def configured(address):
        monkeypatch.setenv("REPOSITORY", address)
        config = SimpleNamespace(html_theme_options={"own": True}, ogp_site_url="")
        repository.configure(None, config)
        return config

    return configured


def test_without_a_repository_there_are_no_buttons(configured):
    assert configured("") == SimpleNamespace(html_theme_options={"own": True}, ogp_site_url="")


def test_a_repository_gives_all_buttons_and_the_address_of_its_pages(configured):
    config = configured("https://github.com/Someone/kn/")
    assert config.html_theme_options["own"]
    assert config.html_theme_options["repository_url"] == "https://github.com/Someone/kn"
    assert config.html_theme_options["launch_buttons"].keys() >= {"binderhub_url", "colab_url"}
    assert config.ogp_site_url == "https://someone.github.io/kn/"


@pytest.mark.parametrize(
    "address", ["https://example.org/a/b", "github.com/a/b", "https://github.com/a", "https://github.com/a/b/c"]
)
def test_another_address_is_refused(configured, address):
    with pytest.raises(ValueError, match="it must look like https://github.com/owner/name"):
        configured(address)


def test_the_buttons_of_a_second_page_open_the_notebook_and_its_download_stays():
    page = "notebooks/00_report_appendix"
    groups = [
        {"label": label, "buttons": [{"url": f"x/{page}.ipynb"}]}
        for label in ("launch-buttons", "source-buttons", "download-buttons")
    ]
    repository.open_template(None, page, "", {"header_buttons": groups}, None)
    assert [group["buttons"][0]["url"] for group in groups] == ["x/notebooks/00_report.ipynb"] * 2 + [f"x/{page}.ipynb"]
