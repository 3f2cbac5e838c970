#!/usr/bin/env python3
"""Talks to a server of ours with the OpenAI client as PyPI has it, and checks what comes back.

  scripts/python-env.sh openai
  .venv/bin/python tests/openai_client/check.py --base-url http://127.0.0.1:8080/v1 --model BASE --model ADAPTER

Prints one line per check. Exit code 0 if all pass, 1 if one fails.
"""

import argparse
import math
import sys
import traceback

import openai

QUESTION = [
    {"role": "system", "content": "Du antwortest kurz."},
    {"role": "user", "content": "Was ist ein Verwaltungsakt? Nenne die Vorschrift."},
]
MAX_TOKENS = 24


def ask(client: openai.OpenAI, model: str, **options):
    """A greedy answer, so that it can be compared with another."""
    return client.chat.completions.create(
        model=model, messages=QUESTION, temperature=0, max_tokens=MAX_TOKENS, **options
    )


def lists_models(client: openai.OpenAI, models: list[str]) -> None:
    page = client.models.list()
    assert page.object == "list", page
    for entry in page.data:
        assert entry.object == "model" and isinstance(entry.created, int) and entry.owned_by, entry
    missing = set(models) - {entry.id for entry in page.data}
    assert not missing, f"{missing} not among {[entry.id for entry in page.data]}"


def completes(client: openai.OpenAI, model: str) -> None:
    answer = ask(client, model)
    assert answer.object == "chat.completion" and answer.id and answer.created > 0, answer
    assert answer.model == model, answer.model
    (choice,) = answer.choices
    assert choice.index == 0 and choice.message.role == "assistant", choice
    assert isinstance(choice.message.content, str), choice
    assert choice.finish_reason in ("stop", "length"), choice.finish_reason
    usage = answer.usage
    assert usage.prompt_tokens > 0 and 0 < usage.completion_tokens <= MAX_TOKENS, usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage
    assert choice.finish_reason == "stop" or usage.completion_tokens == MAX_TOKENS, usage


def answers_the_same_twice(client: openai.OpenAI, model: str) -> None:
    first, second = (ask(client, model).choices[0].message.content for _ in range(2))
    assert first == second, (first, second)


def streams(client: openai.OpenAI, model: str) -> None:
    whole = ask(client, model).choices[0]
    chunks = list(ask(client, model, stream=True))
    assert len({chunk.id for chunk in chunks}) == 1, "one answer, several ids"
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks), chunks[0]
    parts = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert parts[0].delta.role == "assistant", parts[0]
    text = "".join(part.delta.content or "" for part in parts)
    assert text == whole.message.content, (text, whole.message.content)
    reasons = [part.finish_reason for part in parts if part.finish_reason]
    assert reasons == [whole.finish_reason] and parts[-1].finish_reason, reasons
    assert sum(bool(part.delta.content) for part in parts) > 1 or len(text) < 2, "the text came in one piece"


def streams_usage(client: openai.OpenAI, model: str) -> None:
    expected = ask(client, model).usage
    *_, last = ask(client, model, stream=True, stream_options={"include_usage": True})
    assert not last.choices and last.usage == expected, last


def gives_logprobs(client: openai.OpenAI, model: str) -> None:
    answer = ask(client, model, logprobs=True, top_logprobs=3)
    choice = answer.choices[0]
    entries = choice.logprobs.content
    assert entries and len(entries) <= answer.usage.completion_tokens, answer.usage
    joined = b"".join(bytes(entry.bytes) for entry in entries)
    assert joined.decode(errors="replace").startswith(choice.message.content), (joined, choice.message.content)
    for entry in entries:
        assert math.isfinite(entry.logprob) and entry.logprob <= 0, entry
        best = [alternative.logprob for alternative in entry.top_logprobs]
        assert len(best) == 3 and best == sorted(best, reverse=True), entry
        assert sum(map(math.exp, best)) <= 1 + 1e-4, entry
        assert entry.top_logprobs[0].token == entry.token, f"greedy took {entry.token!r}: {entry.top_logprobs}"


def stops_at_a_string(client: openai.OpenAI, model: str) -> None:
    text = ask(client, model).choices[0].message.content
    stop = text[len(text) // 2 :][:2]
    if not stop:
        return
    choice = ask(client, model, stop=[stop]).choices[0]
    assert choice.finish_reason == "stop", choice
    assert choice.message.content == text[: text.index(stop)], (choice.message.content, stop)


def refuses(client: openai.OpenAI, model: str) -> None:
    for wrong in ({"model": model, "messages": []}, {"model": model, "messages": QUESTION, "temperature": -1}):
        try:
            client.chat.completions.create(**wrong)
        except openai.BadRequestError as error:
            assert error.body and error.body.get("message"), error.body
        else:
            raise AssertionError(f"accepted {wrong}")


def knows_no_other_model(client: openai.OpenAI, _models: list[str]) -> None:
    try:
        ask(client, "no-such-model")
    except openai.NotFoundError as error:
        assert "no-such-model" in error.body.get("message", ""), error.body
    else:
        raise AssertionError("answered for a model that is not there")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", action="append", required=True, help="name to ask for; may be given several times")
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--show", action="store_true", help="print each model's answer")
    arguments = parser.parse_args()
    client = openai.OpenAI(base_url=arguments.base_url, api_key=arguments.api_key, max_retries=0, timeout=300)

    checks = [("server", check, arguments.model) for check in (lists_models, knows_no_other_model)]
    per_model = (completes, answers_the_same_twice, streams, streams_usage, gives_logprobs, stops_at_a_string, refuses)
    checks += [(model, check, model) for model in arguments.model for check in per_model]
    failed = 0
    for subject, check, argument in checks:
        try:
            check(client, argument)
        except Exception as error:  # noqa: BLE001  each check is to be reported, whatever stopped it
            failed += 1
            print(f"FAIL {subject}: {check.__name__}: {type(error).__name__}: {error}")
            if not isinstance(error, (AssertionError, openai.OpenAIError)):
                traceback.print_exc()
        else:
            print(f"ok   {subject}: {check.__name__}")
    if arguments.show:
        for model in arguments.model:
            print(f"{model}: {ask(client, model).choices[0].message.content!r}")
    print(f"openai {openai.__version__}: {len(checks) - failed} of {len(checks)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
