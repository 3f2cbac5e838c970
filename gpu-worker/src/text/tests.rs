//! Behaviour of text generation over a decoder that follows a script.

pub(crate) mod scripted;

use super::*;
use crate::token_texts::tests::END;
use scripted::{Log, ScriptedDecoder, model, request};

fn batch(decoder: ScriptedDecoder, limits: BatchLimits) -> Batch {
    Batch::new(Box::new(decoder), model(), limits)
}

/// Runs the batch dry; returns each text with its end.
fn run(batch: &mut Batch) -> std::collections::BTreeMap<Ticket, (String, Result<Finished, TextError>)> {
    let mut texts = std::collections::BTreeMap::<Ticket, String>::new();
    let mut ended = std::collections::BTreeMap::new();
    while !batch.is_idle() {
        for (ticket, event) in batch.step() {
            let text = texts.entry(ticket).or_default();
            match event {
                TextEvent::Token(token) => text.push_str(&token.text),
                TextEvent::Finished(finished) => {
                    text.push_str(&finished.text);
                    ended.insert(ticket, (text.clone(), Ok(finished)));
                }
                TextEvent::Failed(error) => {
                    ended.insert(ticket, (text.clone(), Err(error)));
                }
            }
        }
    }
    ended
}

fn answer(request: TextRequest) -> (String, Result<Finished, TextError>) {
    let mut batch = batch(ScriptedDecoder::default(), BatchLimits::default());
    let ticket = batch.submit(request);
    run(&mut batch).remove(&ticket).unwrap()
}

#[test]
fn an_answer_ends_with_the_models_end_token() {
    let (text, finished) = answer(request("Frage>", None));
    let finished = finished.unwrap();
    assert_eq!(text, "Basis größer.");
    assert_eq!(
        (finished.reason, finished.prompt_tokens, finished.completion_tokens),
        (FinishReason::Stop, 6, 15)
    );
}

#[test]
fn an_answer_ends_at_the_limit_of_tokens_and_never_inside_a_character() {
    let (text, finished) = answer(TextRequest { max_tokens: 9, ..request("Frage>", None) });
    assert_eq!(text, "Basis gr\u{fffd}");
    assert_eq!(finished.unwrap().reason, FinishReason::Length);
}

#[test]
fn a_stop_text_ends_the_answer_before_it() {
    let (text, finished) = answer(TextRequest { stop: vec!["größ".into()], ..request("Frage>", None) });
    assert_eq!((text.as_str(), finished.unwrap().reason), ("Basis ", FinishReason::Stop));
}

#[test]
fn texts_run_together_each_with_its_adapter_and_later_ones_join() {
    let decoder = ScriptedDecoder::default();
    let log = decoder.log();
    let mut batch = batch(decoder, BatchLimits { sequences: 2, ..BatchLimits::default() });
    let tickets: Vec<_> = [None, Some("recht"), Some("kurz")]
        .into_iter()
        .map(|name| batch.submit(request("F>", name)))
        .collect();
    let answers = run(&mut batch);
    let texts: Vec<_> = tickets.iter().map(|ticket| answers[ticket].0.as_str()).collect();
    assert_eq!(texts, ["Basis größer.", "Nach § 35 BauGB.", "Ja"]);
    assert_eq!(log.largest_batch(), 2);
    assert_eq!(log.open_sequences(), 0);
}

#[test]
fn alone_or_in_a_batch_a_text_is_the_same() {
    let sampled = |seed| TextRequest {
        sampling: Sampling { temperature: 30.0, top_p: 0.9, seed },
        max_tokens: 20,
        ..request("F>", None)
    };
    let mut batch = batch(ScriptedDecoder::default(), BatchLimits::default());
    let tickets: Vec<_> = (0..8).map(|seed| batch.submit(sampled(seed))).collect();
    let together = run(&mut batch);
    for (seed, ticket) in (0..).zip(tickets) {
        assert_eq!(answer(sampled(seed)).0, together[&ticket].0, "seed {seed}");
    }
}

#[test]
fn a_long_prompt_is_fed_in_parts() {
    let decoder = ScriptedDecoder::default();
    let log = decoder.log();
    let mut batch = batch(decoder, BatchLimits { prompt_tokens: 4, ..BatchLimits::default() });
    let ticket = batch.submit(request("eine lange Frage>", Some("kurz")));
    assert_eq!(run(&mut batch)[&ticket].0, "Ja");
    assert_eq!(log.largest_part(), 4);
}

#[test]
fn the_cache_limit_keeps_texts_waiting_but_never_a_single_one() {
    let decoder = ScriptedDecoder::default();
    let log = decoder.log();
    let mut batch = batch(decoder, BatchLimits { cached_tokens: 1, ..BatchLimits::default() });
    let tickets = [batch.submit(request("F>", None)), batch.submit(request("F>", Some("kurz")))];
    let answers = run(&mut batch);
    assert!(tickets.iter().all(|ticket| answers[ticket].1.is_ok()));
    assert_eq!(log.largest_batch(), 1);
}

#[test]
fn an_unknown_adapter_fails_its_own_text_only() {
    let mut batch = batch(ScriptedDecoder::default(), BatchLimits::default());
    let (bad, good) = (batch.submit(request("F>", Some("fehlt"))), batch.submit(request("F>", None)));
    let answers = run(&mut batch);
    assert!(matches!(&answers[&bad].1, Err(TextError::Engine(_))));
    assert_eq!(answers[&good].0, "Basis größer.");
}

#[test]
fn a_model_without_finite_logits_is_an_error_and_not_a_text() {
    let mut decoder = ScriptedDecoder::default();
    decoder.broken = true;
    let mut batch = batch(decoder, BatchLimits::default());
    let ticket = batch.submit(request("F>", None));
    assert_eq!(run(&mut batch)[&ticket].1, Err(TextError::NotFinite { tokens: 0 }));
}

#[test]
fn log_probabilities_come_with_each_token() {
    let mut batch = batch(ScriptedDecoder::default(), BatchLimits::default());
    batch.submit(TextRequest { logprobs: Some(3), ..request("F>", Some("kurz")) });
    let events: Vec<_> = std::iter::from_fn(|| (!batch.is_idle()).then(|| batch.step())).flatten().collect();
    let TextEvent::Token(first) = &events[0].1 else { panic!("{events:?}") };
    let logprobs = first.logprobs.as_ref().unwrap();
    assert_eq!((first.token, logprobs.top.len(), logprobs.top[0].0), (u32::from(b'J'), 3, u32::from(b'J')));
    assert!(logprobs.chosen < 0.0 && logprobs.chosen > -0.1);
}

#[test]
fn a_guided_answer_feeds_its_fixed_text_in_one_pass() {
    let decoder = ScriptedDecoder::default();
    let log: Log = decoder.log();
    let mut batch = batch(decoder, BatchLimits::default());
    let schema = r#"{"type": "object", "properties": {"genauigkeit": {"type": "integer", "minimum": 1, "maximum": 5},
                     "bestanden": {"type": "boolean"}}}"#;
    let guide = Guide::compile(&serde_json::from_str(schema).unwrap()).unwrap();
    let ticket = batch.submit(TextRequest { guide: Some(guide), logprobs: Some(2), ..request("F>", None) });
    let (text, finished) = run(&mut batch).remove(&ticket).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    assert_eq!(finished.unwrap().reason, FinishReason::Stop);
    assert_eq!(log.passes(), 2, "one pass per free value");
}

#[test]
fn a_guided_answer_ends_its_strings_in_time_to_fit_the_limit_of_tokens() {
    let schema = r#"{"type": "object", "properties": {"grund": {"type": "string"}, "note": {"type": "integer",
                     "minimum": 0, "maximum": 10}, "rest": {"type": "string"}}}"#;
    let guide = Guide::compile(&serde_json::from_str(schema).unwrap()).unwrap();
    let sampled = |seed, max_tokens| TextRequest {
        guide: Some(guide.clone()),
        sampling: Sampling { temperature: 30.0, top_p: 1.0, seed },
        max_tokens,
        ..request("F>", None)
    };
    for seed in 0..50 {
        let (text, finished) = answer(sampled(seed, 60));
        let value: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("seed {seed}: {text}"));
        assert!(value["note"].is_u64() && finished.unwrap().reason == FinishReason::Stop);
    }
    assert_eq!(
        answer(sampled(0, 20)).1.unwrap().reason,
        FinishReason::Length,
        "too few even for the fixed text"
    );
}

#[test]
fn a_prompt_beyond_the_context_is_refused_with_its_figures() {
    let engine =
        TextEngine::start(Box::new(ScriptedDecoder::default()), model(), BatchLimits::default()).unwrap();
    let error = engine.generate(TextRequest { max_tokens: 500, ..request("F>", None) }).unwrap_err();
    assert_eq!(error, TextError::TooLong { prompt_tokens: 2, max_tokens: 500, context_length: 400 });
    let empty = engine.generate(TextRequest { prompt: Vec::new(), ..request("F>", None) }).unwrap_err();
    assert_eq!(empty, TextError::EmptyPrompt);
}

#[test]
fn the_thread_answers_many_callers_and_drops_what_nobody_reads() {
    let decoder = ScriptedDecoder::default();
    let log = decoder.log();
    let engine = TextEngine::start(Box::new(decoder), model(), BatchLimits::default()).unwrap();
    drop(engine.generate(request("F>", Some("endlos"))).unwrap());
    let mut running: Vec<_> =
        (0..20).map(|_| engine.generate(request("F>", Some("recht"))).unwrap()).collect();
    for generation in &mut running {
        let mut text = String::new();
        while let Some(event) = generation.next_blocking() {
            match event {
                TextEvent::Token(token) => text.push_str(&token.text),
                TextEvent::Finished(finished) => text.push_str(&finished.text),
                TextEvent::Failed(error) => panic!("{error}"),
            }
        }
        assert_eq!(text, "Nach § 35 BauGB.");
    }
    drop(engine);
    assert!(log.wait_until_idle(), "the abandoned text is still open");
    assert_eq!(END, 256);
}
