'use strict'
/* Runs one handler as AWS Lambda does: `node runner.cjs`. The counterpart of runner.py, with the same frames on
   descriptor 3: four bytes length (big-endian) and JSON. A request is a head and a body; the reply repeats its `call`.

   A handler answers with a promise, or by its callback: then, unless context.callbackWaitsForEmptyEventLoop is false,
   the answer goes out when nothing keeps the event loop busy. The channel does not count meanwhile. */

const net = require('net')
const path = require('path')
const { pathToFileURL } = require('url')

const MESSAGE_CHARACTERS = 4096
const TYPE_CHARACTERS = 100
const EXIT_NO_CHANNEL = 70
const EXIT_BROKEN = 1

const channel = new net.Socket({ fd: 3, readable: true, writable: true })
let received = Buffer.alloc(0)
let start = null
let loading = null
let handler = null
let call = null

/* A reply to the request that was named so; only an answer has a body. */
function send(name, [head, ...body], then) {
  const parts = []
  for (const text of [JSON.stringify({ call: name, ...head }), ...body]) {
    const frame = Buffer.from(text, 'utf8')
    const size = Buffer.alloc(4)
    size.writeUInt32BE(frame.length)
    parts.push(size, frame)
  }
  channel.write(Buffer.concat(parts), then)
}

/* Whole characters, as the worker counts them: it has to see that a text was cut. */
function words(value, characters = MESSAGE_CHARACTERS) {
  try {
    return [...String(value).slice(0, 2 * characters)].slice(0, characters).join('')
  } catch {
    return '(its text cannot be shown)'
  }
}

/* Whatever was thrown, an Error or not. */
function failure(thrown, is_last = false) {
  let type = typeof thrown
  let message = thrown
  try {
    if (thrown instanceof Error || (thrown && thrown.message !== undefined)) {
      type = thrown.name || 'Error'
      message = thrown.message
    }
  } catch {
    type = 'Error'
  }
  return { outcome: 'error', type: words(type, TYPE_CHARACTERS), message: words(message), is_last }
}

function show(thrown) {
  try {
    console.error(thrown && thrown.stack ? thrown.stack : thrown)
  } catch {}
}

/* The next whole frame, or null. */
function frame() {
  if (received.length < 4) return null
  const end = 4 + received.readUInt32BE(0)
  if (received.length < end) return null
  const text = received.subarray(4, end).toString('utf8')
  received = received.subarray(end)
  return text
}

channel.on('data', (chunk) => {
  received = received.length ? Buffer.concat([received, chunk]) : chunk
  take()
})
channel.on('end', () => process.exit(0))
channel.on('error', () => process.exit(EXIT_NO_CHANNEL))

let head = null
function take() {
  for (;;) {
    if (call !== null || (start !== null && handler === null)) return
    const text = frame()
    if (text === null) return
    if (head === null) {
      head = JSON.parse(text)
    } else if (start === null) {
      start = JSON.parse(text)
      loading = head.call
      head = null
      load()
    } else {
      const ours = head
      head = null
      invoke(ours, text)
    }
  }
}

async function load() {
  process.env.AWS_EXECUTION_ENV = process.env.AWS_EXECUTION_ENV || `AWS_Lambda_nodejs${process.versions.node.split('.')[0]}.x`
  process.argv[1] = start.path
  try {
    const loaded = await import(pathToFileURL(path.resolve(start.path)).href)
    const found = loaded[start.handler] ?? loaded.default?.[start.handler]
    if (typeof found !== 'function') throw new TypeError(`it has no function named ${start.handler}`)
    handler = found
  } catch (thrown) {
    show(thrown)
    send(loading, [failure(thrown)], () => process.exit(EXIT_BROKEN))
    return
  }
  send(loading, [{ outcome: 'ready', file: start.path }])
  take()
}

/* Head and body of an answer. */
function answer(value) {
  let text
  try {
    text = JSON.stringify(value) ?? 'null'
  } catch (thrown) {
    show(thrown)
    return [failure(thrown)]
  }
  if (Buffer.byteLength(text) > start.limit_bytes) return [{ outcome: 'too large' }]
  return [{ outcome: 'answer' }, text]
}

/* Ends the call that is under way; what an earlier one says late, changes nothing. */
function finish(ended, reply) {
  if (call !== ended) return
  call = null
  channel.ref()
  send(ended.name, reply)
  take()
}

function fail(ended, thrown) {
  if (call === ended) show(thrown)
  finish(ended, [failure(thrown)])
}

function contextOf(ours, deadline_ms, request_id) {
  const done = (thrown, value) => (thrown == null ? finish(ours, answer(value)) : fail(ours, thrown))
  return {
    callbackWaitsForEmptyEventLoop: true,
    awsRequestId: request_id,
    functionName: start.function_name,
    functionVersion: '$LATEST',
    invokedFunctionArn: start.arn,
    memoryLimitInMB: String(start.memory_megabytes),
    logGroupName: start.log_group,
    logStreamName: start.log_stream,
    getRemainingTimeInMillis: () => Math.max(0, deadline_ms - Date.now()),
    done,
    succeed: (value) => done(null, value),
    fail: (thrown) => done(thrown ?? 'handled'),
  }
}

function invoke({ call: name, request_id, deadline_ms }, event) {
  const ours = { name, whenQuiet: () => finish(ours, answer(null)) }
  call = ours
  channel.unref()
  const context = contextOf(ours, deadline_ms, request_id)
  const callback = (thrown, value) => {
    if (thrown != null) fail(ours, thrown)
    else if (context.callbackWaitsForEmptyEventLoop) ours.whenQuiet = () => finish(ours, answer(value))
    else finish(ours, answer(value))
  }
  try {
    const result = handler(JSON.parse(event), context, callback)
    if (result && typeof result.then === 'function') {
      ours.whenQuiet = () => fail(ours, new Error('the promise of the handler was never settled'))
      result.then(context.succeed, (thrown) => fail(ours, thrown))
    }
  } catch (thrown) {
    fail(ours, thrown)
  }
}

process.on('beforeExit', () => {
  if (call !== null) call.whenQuiet()
})

/* Also a promise that nobody looks after. What is left behind it, nobody knows: the process ends, as Lambda's does. */
process.on('uncaughtException', (thrown) => {
  show(thrown)
  if (call === null && handler !== null) process.exit(EXIT_BROKEN)
  const name = call === null ? loading : call.name
  call = null
  send(name, [failure(thrown, true)], () => process.exit(EXIT_BROKEN))
})
