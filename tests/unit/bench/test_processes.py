import os
import subprocess
import sys
from pathlib import Path

from bench.processes import Stat, parse_stat, resident_bytes, spent, tree

HOUSE = Path(__file__).resolve().parents[3]
LINE = (
    "4321 (a (nasty) name) S 17 4321 4321 0 -1 4194560 1500 0 0 0 70 30 5 2 20 0 1 0 100 1000 200 18446744073709551615"
)


def test_a_stat_line_is_read_whatever_the_name_is():
    assert parse_stat(LINE) == Stat(4321, "a (nasty) name", 17, own_ticks=100, waited_ticks=7)


def test_a_tree_is_a_process_with_all_its_descendants():
    stats = [Stat(pid, "p", parent, 0, 0) for pid, parent in ((1, 0), (2, 1), (3, 2), (4, 2), (5, 1), (6, 5))]
    assert {one.pid for one in tree(2, stats)} == {2, 3, 4}
    assert tree(99, stats) == []


def test_the_time_of_a_child_that_ended_is_not_lost():
    # In a process of its own: the children of this one are those of other tests too, and may be ended by anybody.
    program = """
import os, subprocess, sys
from bench.processes import cpu_seconds
subprocess.run([sys.executable, "-c", "for _ in range(5_000_000): pass"], check=True)
known = sum(os.times()[:4])
assert cpu_seconds(os.getpid()) > known - 0.05, known
"""
    subprocess.run([sys.executable, "-c", program], cwd=HOUSE, check=True)


def test_what_was_spent_is_told_by_name():
    assert spent({"redis": 1.0}, {"redis": 1.5, "worker": 2.0}) == {"redis": 0.5, "worker": 2.0}


def test_a_process_uses_some_memory():
    assert resident_bytes(os.getpid()) > 1_000_000
