"""A model's repository on a hub: whether it can be reached, and which commit was read."""

from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import FileMetadataError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

_CONFIG = "config.json"


def commit_in_cache(repository: str, revision: str) -> str:
    """Return the commit of a revision that lies in the hub's cache, or ""."""
    found = try_to_load_from_cache(repository, _CONFIG, revision=revision)
    return Path(found).parent.name if isinstance(found, str) else ""


def check_reachable(repository: str, revision: str) -> None:
    """Raise OSError if a repository is not in the cache and the hub does not answer.

    The hub is asked once, where transformers asks again for half a minute. What the hub answers is left to transformers.
    """
    try:
        if not commit_in_cache(repository, revision):
            get_hf_file_metadata(hf_hub_url(repository, _CONFIG, revision=revision))
    except (HfHubHTTPError, HFValidationError, FileMetadataError, OfflineModeIsEnabled):
        return
    except Exception as reason:  # of the network; each version of the client has its own
        raise OSError(f"the hub does not answer ({reason}), and its cache has no such model") from reason
