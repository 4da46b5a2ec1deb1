import json

from mlbench.host.system import describe_system


def test_description_is_plain_json():
    """The facts about the machine survive a trip through JSON unchanged."""
    facts = describe_system()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cpu"]["cores"] >= 1
    assert facts["memory_bytes"] > 0
