"""The list of faults: what the rest depends on."""

from pipelines.tasks.code_review.categories import SEVERITIES, categories


def test_every_category_says_what_it_is_and_what_to_do() -> None:
    assert len(categories()) >= 20
    for name, category in categories().items():
        assert name == category.name
        assert category.severity in SEVERITIES
        for sentence in (category.description, category.advice):
            assert sentence.endswith(".")
        assert all(0 < number < 2_000 for number in category.cwe)


def test_security_faults_have_a_cwe() -> None:
    security = [category for category in categories().values() if category.security_severity is not None]
    assert len(security) >= 10
    assert all(category.cwe for category in security)


def test_cwe_ids_are_written_as_people_know_them() -> None:
    assert categories()["sql-injection"].cwe_ids == ("CWE-89",)
    assert categories()["statement-without-filter"].cwe_ids == ()
