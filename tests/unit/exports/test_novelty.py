"""Novelty of generated code, by shared shingles."""

from nnlite.exports.novelty import NoveltyFilter, jaccard, shingles

CODE = "\n".join(f"layer{number} = Conv2d({number}, {number + 1})" for number in range(60))


def test_a_copy_of_an_earlier_model_is_not_novel_and_says_of_which():
    novelty = NoveltyFilter({})
    first = novelty.judge("A0_B0", CODE)
    assert (first.novel, first.max_similarity, first.similar_to) == (True, None, None)
    copy = novelty.judge("A0_B1", CODE.replace(" = ", "="))
    assert (copy.novel, copy.max_similarity, copy.similar_to) == (False, 1.0, "A0_B0")


def test_siblings_may_be_more_similar_than_references():
    similar = CODE
    for name in ("layer30", "layer40", "layer50"):
        similar = similar.replace(name, "other")
    assert 0.8 < jaccard(shingles(CODE), shingles(similar)) < 0.95
    novelty = NoveltyFilter({})
    novelty.judge("A0_B0", CODE)
    assert novelty.judge("A0_B1", similar).novel
    against = NoveltyFilter({"AlexNet": CODE}).judge("A0_B0", similar)
    assert (against.novel, against.similar_to) == (False, "reference:AlexNet")
    assert NoveltyFilter({"AlexNet": CODE}, threshold=0.99).judge("A0_B0", similar).novel


def test_short_code_is_one_shingle():
    assert shingles("x = 1") == {("x", "=", "1")}
    assert jaccard(shingles("x"), shingles("y")) == 0
