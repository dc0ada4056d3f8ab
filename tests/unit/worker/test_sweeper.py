from worker.sweeper import groups_of


def test_ids_travel_by_fifties_and_suspects_alone():
    calm = [(f"m{number}", 0) for number in range(120)]
    groups = groups_of([*calm, ("suspect", 2), ("once", 1)])
    assert [len(group) for group in groups] == [50, 50, 21, 1]
    assert groups[-1] == ["suspect"]
    assert [one for group in groups for one in group][:120] == [name for name, _ in calm]


def test_nothing_to_nudge_makes_no_group():
    assert groups_of([]) == []
