"""An interrupted run keeps what it finished, and nothing else."""

import pytest

from hydropress.bench.parts import PARTS, Part, forget_parts, key_of, run_parts


class Work:
    """Parts that count how often they run; one may be interrupted."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.interrupted = ""

    def part(self, name: str, weight: float = 1.0) -> Part:
        def run(step):
            step(0.5)
            if name == self.interrupted:
                raise KeyboardInterrupt
            self.ran.append(name)
            return {"name": name}

        return Part(name, f"doing {name}", weight, run)


@pytest.fixture
def work() -> Work:
    return Work()


def test_finished_parts_are_not_run_again(work, tmp_path):
    parts = [work.part(name) for name in "abc"]
    work.interrupted = "b"
    with pytest.raises(KeyboardInterrupt):
        run_parts(parts, tmp_path, "key", None)
    assert sorted(path.name for path in (tmp_path / PARTS).iterdir()) == ["a.json"]
    work.interrupted = ""
    results, seconds = run_parts(parts, tmp_path, "key", None)
    assert work.ran == ["a", "b", "c"]
    assert results == {name: {"name": name} for name in "abc"}
    assert list(results) == ["a", "b", "c"]
    assert seconds > 0
    forget_parts(tmp_path)
    assert not any(tmp_path.iterdir())


def test_parts_of_other_settings_or_half_a_file_are_run_again(work, tmp_path):
    parts = [work.part("a"), work.part("b")]
    run_parts(parts, tmp_path, key_of({"seed": 0}), None)
    (tmp_path / PARTS / "b.json").write_text('{"key": "')
    run_parts(parts, tmp_path, key_of({"seed": 0}), None)
    assert work.ran == ["a", "b", "b"]
    run_parts(parts, tmp_path, key_of({"seed": 1}), None)
    assert work.ran == ["a", "b", "b", "a", "b"]


def test_progress_never_goes_back_and_counts_what_was_kept(work, tmp_path):
    parts = [work.part("a", 1.0), work.part("b", 2.0), work.part("c", 4.0)]
    work.interrupted = "b"
    with pytest.raises(KeyboardInterrupt):
        run_parts(parts, tmp_path, "key", None)
    work.interrupted = ""
    told: list[tuple[float, float, str]] = []
    run_parts(parts, tmp_path, "key", lambda *told_: told.append(told_))
    assert told == [
        (1.0, 7.0, "doing b"),
        (2.0, 7.0, "doing b"),
        (3.0, 7.0, "doing c"),
        (5.0, 7.0, "doing c"),
    ]
