"""Both labels as a tree of tokens."""

import pytest

from hsd.inference.label_trie import TrieNode, inner_nodes, label_log_probabilities
from hsd.inference.score import Candidates

pytestmark = pytest.mark.model


def test_labels_of_one_token_each_need_one_question() -> None:
    assert inner_nodes(Candidates([7, 8], ([1], [2]))) == [TrieNode([7, 8], [1, 2])]


def test_each_place_where_a_label_goes_on_is_asked_for_once() -> None:
    spelled = Candidates([7], ([1, 3, 4], [2, 5]))
    assert inner_nodes(spelled) == [
        TrieNode([7], [1, 2]),
        TrieNode([7, 1], [3]),
        TrieNode([7, 1, 3], [4]),
        TrieNode([7, 2], [5]),
    ]


def test_a_label_is_as_likely_as_all_of_its_tokens() -> None:
    spelled = Candidates([7], ([1, 3], [2]))
    assert label_log_probabilities(spelled, [[-0.5, -1.0], [-0.25]]) == (-0.75, -1.0)
