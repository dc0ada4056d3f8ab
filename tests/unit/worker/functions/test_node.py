"""Node handlers: the styles of Lambda, its context, and what becomes of all that they may do."""

import asyncio
import re
import shutil

import pytest

from tests.unit.worker.functions.local_stand import REQUEST_ID, Here, hurry, is_alive, wait_until
from worker.functions.failures import InvocationFailed

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

#: Answers with its process, unless the event is the body of a function.
OBEDIENT = """
    const { spawn } = require('child_process')
    const fs = require('fs')
    exports.handler = function (event, context, callback) {
      if (!event) return callback(null, process.pid)
      return new Function('context', 'callback', 'fs', 'spawn', event)(context, callback, fs, spawn)
    }
"""


@pytest.fixture
async def here(tmp_path):
    async with Here(tmp_path) as here:
        yield here


async def test_without_node_the_reason_says_so(here):
    here.environ["PATH"] = str(here.folder)
    with pytest.raises(InvocationFailed, match="node is not installed on this machine"):
        await here.call(here.function("app.cjs", OBEDIENT))


@needs_node
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("app.js", "module.exports.handler = async (event) => [event]"),
        ("app.cjs", "exports.handler = (event, context, callback) => callback(null, [event])"),
        ("app.cjs", "module.exports = { get handler() { return (e) => Promise.resolve([e]) } }"),
        ("app.mjs", "export const handler = async (event) => [event]"),
        ("app.mjs", "export default { handler: async (event) => [event] }"),
        ("app.mjs", "import os from 'node:os'\nexport function handler(e, c) { os.cpus(); c.succeed([e]) }"),
        ("my app #1.mjs", "export const handler = async (event) => [event]"),
    ],
)
async def test_every_style_of_handler_answers(here, name, text):
    assert await here.call(here.function(name, text), {"ä": "✉ 😀"}) == [{"ä": "✉ 😀"}]


@needs_node
async def test_a_js_file_of_a_module_package_answers(here):
    here.write("package.json", '{"type": "module"}')
    assert await here.call(here.function("app.js", "export const handler = async () => 'ok'")) == "ok"


@needs_node
async def test_the_context_is_that_of_lambda(here):
    text = """
        exports.handler = async (event, context) => [context.awsRequestId, context.functionName,
          context.functionVersion, context.memoryLimitInMB, context.invokedFunctionArn, context.logGroupName,
          process.env.AWS_EXECUTION_ENV.slice(0, 17), process.cwd(), context.getRemainingTimeInMillis()]
    """
    *values, left_ms = await here.call(here.function("app.cjs", text), rule="a rule", seconds=600)
    arn = "arn:aws:lambda:us-east-1:000000000000:function:a rule"
    expected = [
        REQUEST_ID,
        "a rule",
        "$LATEST",
        "512",
        arn,
        "/aws/lambda/a rule",
        "AWS_Lambda_nodejs",
        str(here.folder),
    ]
    assert values == expected
    assert 300_000 < left_ms <= 600_000


@needs_node
@pytest.mark.parametrize(
    ("event", "answer"),
    [
        ("return Promise.resolve(undefined)", b"null"),
        ("return 'ignored: it neither awaits nor calls back'", b"null"),
        ("setTimeout(() => callback(null, 7), 20)", b"7"),
        ("callback(null, 1); callback(null, 2)", b"2"),
        ("let n = 0; callback(null, {get n() {return n}}); setTimeout(() => n++, 20)", b'{"n":1}'),
        ("context.callbackWaitsForEmptyEventLoop = false; setInterval(() => {}, 1000); callback(null, 3)", b"3"),
        ("setInterval(() => {}, 1000); return Promise.resolve(4)", b"4"),
        ("return Promise.resolve('x'.repeat(262142))", b'"' + b"x" * 262142 + b'"'),
        ("process.on('SIGTERM', () => {}); return Promise.resolve(5)", b"5"),
        ("fs.closeSync(1); fs.closeSync(2); return Promise.resolve(6)", b"6"),
        ("process.chdir('/'); return Promise.resolve(7)", b"7"),
    ],
)
async def test_what_a_handler_may_do(here, event, answer):
    function = here.function("app.cjs", OBEDIENT)
    assert await here.answer(function, event) == answer
    if "setInterval" not in event:
        assert isinstance(await here.call(function), int)


@needs_node
@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("throw new RangeError('no\\nsuch thing')", "RangeError: no such thing"),
        ("return Promise.reject(new Error('later'))", "Error: later"),
        ("callback(new Error('called'))", "Error: called"),
        ("callback('a text')", "string: a text"),
        ("throw null", "object: null"),
        ("throw {toString() { throw 1 }}", r"object: \(its text cannot be shown\)"),
        ("throw {get message() { throw 1 }, toString() { throw 1 }}", r"Error: \(its text cannot be shown\)"),
        ("const a = []; a.push(a); return Promise.resolve(a)", "TypeError: Converting circular structure.*"),
        ("return Promise.resolve(1n)", "TypeError: .*BigInt.*"),
        ("return Promise.resolve('x'.repeat(262143))", "the answer is larger than 256 KB"),
        ("return new Promise(() => {})", "Error: the promise of the handler was never settled"),
        ("context.fail()", "string: handled"),
    ],
)
async def test_a_failure_of_the_handler_is_told_and_its_process_stays(here, event, reason):
    function = here.function("app.cjs", OBEDIENT)
    pid = await here.call(function)
    with pytest.raises(InvocationFailed) as failed:
        await here.call(function, event)
    assert re.fullmatch(reason, failed.value.reason), failed.value.reason
    assert await here.call(function) == pid


@needs_node
@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("process.exit(3)", "its process ended with exit code 3 instead of an answer"),
        ("process.kill(process.pid, 'SIGKILL')", "its process was ended by SIGKILL instead of an answer"),
        ("process.abort()", "its process was ended by SIGABRT instead of an answer"),
        ("setTimeout(() => { throw new Error('later') }, 1)", "Error: later"),
        ("Promise.reject(new Error('unseen')); setTimeout(callback, 1000)", "Error: unseen"),
        ("fs.closeSync(3); return Promise.resolve(1)", "its process ended.*"),
        ("const all = []; for (;;) all.push(Buffer.alloc(1 << 22, 1))", "it used more than 512 MB"),
    ],
)
async def test_what_ends_the_process_is_told_and_the_next_call_works(here, event, reason):
    function = here.function("app.cjs", OBEDIENT)
    pid = await here.call(function)
    told = await here.reason_of(function, event, expected=reason)
    assert re.fullmatch(reason, told), told
    await asyncio.to_thread(wait_until, lambda: not is_alive(pid), "the process has ended")
    assert await here.call(function) != pid


@needs_node
async def test_a_callback_that_comes_too_late_answers_nobody_else(here):
    text = """
        let late
        exports.handler = (event, context, callback) => {
          if (event === 'first') {
            late = callback
            return Promise.resolve('first')
          }
          late(null, 'late')
          late(new Error('late'))
          callback(null, event)
        }
    """
    function = here.function("app.cjs", text)
    assert [await here.call(function, event) for event in ("first", "second", "third")] == ["first", "second", "third"]


@needs_node
@pytest.mark.parametrize("event", ["for (;;) {}", "setInterval(() => {}, 1000); callback(null, 1)"])
async def test_time_is_limited_and_what_the_handler_started_ends_with_it(here, event):
    function = here.function("app.cjs", OBEDIENT)
    pid = await here.call(function)
    start = "const child = spawn('sleep', ['600'], {detached: true}); fs.writeFileSync('pid', `${child.pid} .`); "
    call = asyncio.create_task(here.call(function, start + event, seconds=600))
    written = here.folder / "pid"
    await asyncio.to_thread(wait_until, lambda: written.exists() and written.read_text().endswith("."), "it is at work")
    hurry(600)
    with pytest.raises(InvocationFailed, match=r"no answer within 600 s: the handler was still at work"):
        await call
    pids = [pid, int(written.read_text().split()[0])]
    await asyncio.to_thread(wait_until, lambda: not any(map(is_alive, pids)), "all of it has ended")


@needs_node
@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("app.cjs", "exports.handler = ", "SyntaxError"),
        ("app.mjs", "import 'nothing-of-this-name'", "Cannot find package"),
        ("app.cjs", "exports.other = 1", "TypeError: it has no function named handler"),
        ("app.cjs", "throw 'at once'", "string: at once"),
    ],
)
async def test_a_module_that_cannot_be_loaded_is_named_and_tried_again(here, name, text, reason):
    with pytest.raises(InvocationFailed, match=re.escape(name) + " could not be loaded: .*" + reason):
        await here.call(here.function(name, text))
    mended = "export const handler = async () => 1" if name == "app.mjs" else "exports.handler = async () => 1"
    assert await here.call(here.function(name, mended)) == 1


@needs_node
async def test_what_it_prints_is_logged_and_never_blocks(here):
    function = here.function("app.cjs", OBEDIENT)
    event = "console.log('one'); console.error('two'); return Promise.resolve()"
    assert await here.printed(function, event) == ["one", "two"]
    event = "for (let n = 0; n < 100; n++) console.log('x'.repeat(1_000_000)); return Promise.resolve()"
    assert await here.printed(function, event) == ["x" * 65_536, "… more lines left out"]
