"""The study of comparisons goes on where it stopped, and counts what it found."""

import json
from pathlib import Path

import study_compare

ROW = {
    "way": "in turns",
    "seed": 0,
    "factor": 1.0,
    "walk": 0.1,
    "verdict": "no difference",
    "ratio": 1.0,
    "sequential": [0.98, 1.02],
    "plain": [0.99, 1.01],
    "rounds": 24,
    "measured_s": 150.0,
    "cpu_s": 2.0,
}


def test_the_table_counts_intervals_and_verdicts() -> None:
    """Half-widths are medians in percent; an interval that misses the truth is not counted."""
    missed = {**ROW, "seed": 1, "verdict": "slower", "plain": [0.95, 0.97]}
    *_, line = study_compare.table([ROW, missed], {1.0: 1.0})
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:6] == ["1", "10 %", "in turns", "2", "1.00", "1"]
    assert cells[8:12] == ["0", "1", "1", "0"]


def test_what_is_in_the_file_is_read_again(tmp_path: Path) -> None:
    """Each line is a comparison; without the file there are none."""
    path = tmp_path / "found.jsonl"
    assert study_compare._read(path) == []
    path.write_text(json.dumps(ROW) + "\n")
    assert study_compare._read(path) == [ROW]


def test_a_machine_walks_as_far_as_it_is_asked_to() -> None:
    """Its level after a minute varies by the walk, and is the same whenever it is asked."""
    ends = [study_compare.Machine(seed, 0.1).level_at(60.0) for seed in range(200)]
    assert 0.08 < (sum(end**2 for end in ends) / 200) ** 0.5 < 0.12
    machine = study_compare.Machine(3, 0.1)
    assert machine.level_at(10.0) == machine.level_at(10.0)
    assert machine.level_at(0.0) == 0.0
