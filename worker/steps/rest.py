"""After the relay: functions whose first try had to let the others of the message go first, and what they decide.

The judge step has put those tries off. They are made here when the relay is through with everybody else, and whom they
let pass is sent to at once. When the relay has to wait for something the message moves instead; it comes back soon and
its functions are asked before anything else (finish.py), so that a closed lane keeps no function from being asked.
"""

from worker.relay.relay import relay
from worker.steps import tries
from worker.steps.judge import ask_due
from worker.tools import Tools
from worker.work import Continue, Stop, Work


async def ask_rest(work: Work, tools: Tools) -> Continue | Stop:
    """Asks what is due, and sends what that decides. Raises LeaseLost, StepFailed."""
    calls = tries.waiting(work.message.verdict, "sync")
    if work.delay is not None or not any(call.next_at_ms <= tools.now_ms() for call in calls):
        return Continue(work)
    return await relay(await ask_due(work, tools.rules.current, tools), tools)
