"""The coders that a runner is given for what travels between the steps of a pipeline on other machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import remote
from pipeline.config import load_config
from pipeline.inputs import Listing

TINY = Path(__file__).parents[1] / "data" / "checkpoints" / "tiny"


@pytest.fixture(scope="module")
def components(tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = load_config(None, [f"checkpoint={TINY}"], [], str(tmp_path_factory.mktemp("out")))
    return remote.draw(config, False, [], "FnApiRunner", Listing([])).to_runner_api().components


def coder(components: Any, collection: str) -> tuple[Any, ...]:
    """The coder of a collection, with those that it is made of."""

    def whole(name: str) -> tuple[Any, ...]:
        found = components.coders[name]
        return found.spec.urn, found.spec.payload, *(whole(part) for part in found.component_coder_ids)

    return whole(components.pcollections[collection].coder_id)


def only(components: Any, name: str) -> Any:
    (found,) = (step for step in components.transforms.values() if step.unique_name == name)
    return found


def test_elements_of_songs_are_flattened_as_they_are(components: Any) -> None:
    """Prism sends every element through a worker, once more, to change its coder where the two are not the same."""
    flatten = only(components, "All elements")
    (output,) = flatten.outputs.values()
    assert len(flatten.inputs) == 7
    assert {coder(components, name) for name in flatten.inputs.values()} == {coder(components, output)}


@pytest.mark.parametrize("name", ["MixSongs/Group", "WriteRows/Group"])
def test_a_key_is_decoded_as_it_was_encoded(name: str, components: Any) -> None:
    step = only(components, name)
    (given,), (grouped,) = step.inputs.values(), step.outputs.values()
    assert coder(components, given)[2] == coder(components, grouped)[2]
