"""Asks the functions of a verdict once each, for `mailsluice rules test --invoke`. No try is repeated and none is kept.

What functions get and how their answers are read is the same code as in a worker, with one difference: the message is
in no spool, so the message-flow API does not know it.
"""

import dataclasses
from dataclasses import dataclass

from config.settings import Settings
from spool.records import Message
from spool.verdicts import Direction, FunctionCall, Verdict
from worker.functions.answer import read_answer
from worker.functions.calling import Functions
from worker.functions.event import event_of
from worker.functions.failures import InvocationFailed
from worker.rules.answers import answered, direction_of, fallback_of, fallen_back, function_of
from worker.rules.directions import local_domains
from worker.rules.facts import Facts
from worker.rules.records import RuleSet


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking one function."""

    #: As text; "" of an asynchronous function.
    said: str
    #: Why it is no answer; "" = it is one.
    error: str = ""


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks about one message that was judged by these rules."""

    settings: Settings
    rule_set: RuleSet
    facts: Facts
    message: Message

    async def ask_all(self, verdict: Verdict) -> tuple[Verdict, dict[str, Answer]]:
        """The verdict after every function was asked; answers by invocation id."""
        functions = Functions(self.settings)
        answers: dict[str, Answer] = {}
        try:
            for call in verdict.calls:
                verdict, answers[call.invocation_id] = await self._ask(functions, call, verdict)
        finally:
            await functions.close()
        return verdict, answers

    async def _ask(self, functions: Functions, call: FunctionCall, verdict: Verdict) -> tuple[Verdict, Answer]:
        message = self.message.judged(verdict)
        direction = direction_of(call, message, self.settings)
        asked_about = {index: message.recipients[index] for index in call.recipients}
        event = event_of(
            self.facts,
            message,
            list(asked_about.values()),
            direction=direction,
            invocation_id=call.invocation_id,
        )
        said = b""
        try:
            said = await functions.invoke(
                function_of(call, self.rule_set), rule=call.rule, payload=event, invocation_id=call.invocation_id
            )
            if call.mode == "sync":
                verdict = self._decided(call, verdict, said, direction, asked_about)
        except InvocationFailed as failed:
            if call.mode == "sync":
                tried = dataclasses.replace(call, tries=1, error=failed.reason)
                verdict = fallen_back(verdict, tried, len(message.envelope))
            return verdict, Answer(said.decode("utf-8", "replace"), failed.reason)
        return verdict, Answer(said.decode("utf-8", "replace"))

    def _decided(
        self, call: FunctionCall, verdict: Verdict, said: bytes, direction: Direction, asked_about: dict[int, str]
    ) -> Verdict:
        local = local_domains(self.settings)
        everybody = self.message.judged(verdict).recipients
        fates = read_answer(
            said,
            direction=direction,
            recipients=asked_about,
            others=[address for index, address in enumerate(everybody) if index not in asked_about],
            fallback=fallback_of(call),
            is_local=lambda address: local.direction_of(address) == "INBOUND",
        )
        return answered(verdict, call, fates, len(self.message.envelope))
