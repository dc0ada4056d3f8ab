import base64

import orjson

from config.redis_clients import redis_client
from config.settings import Settings
from spool.nudge import ENOUGH_TASKS, Nudger

QUEUE = "{ms}:process"


async def read_tasks(redis, queue=QUEUE):
    raw = [orjson.loads(one) for one in await redis.lrange(queue, 0, -1)]
    return [(one, orjson.loads(base64.b64decode(one["body"]))) for one in reversed(raw)]


async def test_a_nudge_is_a_celery_message_with_ids_only(redis_url):
    redis = redis_client(redis_url)
    nudger = Nudger(redis, Settings())
    nudger.process(["a", "b"])
    await nudger.drain()
    ((message, body),) = await read_tasks(redis)
    assert body[0] == [["a", "b"]]
    assert message["headers"]["task"] == "process"
    assert message["headers"]["argsrepr"] == "a and 1 more"
    assert message["headers"]["id"] == message["properties"]["correlation_id"] == message["headers"]["root_id"]
    assert "expires" not in message["properties"]
    assert message["headers"]["eta"] is None
    await redis.aclose()


async def test_ids_that_come_together_travel_together_by_fifties(redis_url):
    redis = redis_client(redis_url)
    nudger = Nudger(redis, Settings())
    for number in range(120):
        nudger.process([str(number)])
    await nudger.drain()
    bodies = [body[0][0] for _, body in await read_tasks(redis)]
    assert [len(ids) for ids in bodies] == [50, 50, 20]
    assert [one for ids in bodies for one in ids] == [str(number) for number in range(120)]
    await redis.aclose()


async def test_every_task_has_ids_of_its_own(redis_url):
    redis = redis_client(redis_url)
    nudger = Nudger(redis, Settings())
    await nudger.push([["a"], ["b"]])
    tasks = [message for message, _ in await read_tasks(redis)]
    assert len({one["headers"]["id"] for one in tasks}) == 2
    assert len({one["properties"]["delivery_tag"] for one in tasks}) == 2
    await redis.aclose()


async def test_a_long_queue_gets_no_further_nudges_until_it_is_short_again(redis_url):
    redis = redis_client(redis_url)
    nudger = Nudger(redis, Settings())
    await nudger.push([["x"]] * (ENOUGH_TASKS + 1))
    nudger.process(["late"])
    await nudger.drain()
    assert await redis.llen(QUEUE) == ENOUGH_TASKS + 1
    await redis.delete(QUEUE)
    nudger.process(["again"])
    await nudger.drain()
    assert await redis.llen(QUEUE) == 1
    await redis.aclose()


async def test_a_broker_that_is_away_is_no_error_for_the_door(redis_server):
    redis = redis_client(redis_server.url)
    nudger = Nudger(redis, Settings())
    redis_server.kill()
    nudger.process(["a"])
    await nudger.drain()
    redis_server.start()
    nudger.process(["b"])
    await nudger.drain()
    assert [body[0] for _, body in await read_tasks(redis)] == [[["b"]]]
    await redis.aclose()


async def test_publish_tasks_do_not_pile_up(redis_url):
    redis = redis_client(redis_url)
    nudger = Nudger(redis, Settings())
    for _ in range(ENOUGH_TASKS + 20):
        await nudger.push_publish("file")
    tasks = await read_tasks(redis, "{ms}:events")
    assert len(tasks) == ENOUGH_TASKS
    assert tasks[0][1][0] == ["file"]
    await redis.aclose()


async def test_urgent_nudges_go_before_all_that_wait_and_keep_their_order(redis_url):
    redis = redis_client(redis_url)
    nudger = Nudger(redis, Settings())
    await nudger.push([["old"], ["older"]])
    await nudger.push([["a"], ["b"]], is_urgent=True)
    await nudger.push([["last"]])
    assert [body[0][0] for _, body in await read_tasks(redis)] == [["a"], ["b"], ["old"], ["older"], ["last"]]
    await redis.aclose()
