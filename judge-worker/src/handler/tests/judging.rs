//! Tests of the ways of judging: probabilities, repeats, single criteria, panels, offsets, comparisons, canaries, rubrics.

use std::collections::BTreeMap;

use clara_lifecycle::{
    rubric::{AppliesWhen, Language, Rubric, RubricChoice},
    score::{Criterion, Evaluation, Flag, PairwiseResult, Preference, Scoring},
    spec::{JudgeCalls, PanelJudge},
};
use serde_json::{Value, json};

use super::{by_answer, world::World};
use crate::testing::{Call, Canned, Double};

/// A reply whose every score is `mark`, with probabilities of its digits.
fn probable(mark: u8, rivals: &[(&str, f64)]) -> Canned {
    let mut tokens = Vec::new();
    let mut token = |text: &str, top: &[(&str, f64)]| {
        let top: Vec<_> = top.iter().map(|(token, p)| json!({"token": token, "logprob": p.ln()})).collect();
        tokens.push(json!({"token": text, "logprob": -0.1, "top_logprobs": top}));
    };
    token("{\"scores\":{", &[]);
    for (number, criterion) in Criterion::ALL.into_iter().enumerate() {
        token(&format!("{}\"{criterion}\":", if number == 0 { "" } else { "," }), &[]);
        token(&mark.to_string(), rivals);
    }
    token("}}", &[]);
    let text: String = tokens.iter().filter_map(|token| token["token"].as_str()).collect();
    let choice = json!({
        "index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop",
        "logprobs": {"content": tokens},
    });
    Canned::status(200, json!({"choices": [choice], "model": "judge-model"}).to_string())
}

fn mean_of(evaluation: &Evaluation, criterion: Criterion) -> f64 {
    evaluation.results[0].criteria_scores.get(criterion).unwrap()
}

#[tokio::test]
async fn with_probabilities_the_score_is_an_expectation() {
    let double = Double::start(|_| probable(4, &[("4", 0.5), ("3", 0.25), ("5", 0.25)])).await;
    let world = World::new(&double.url, 1, false).await;
    let (evaluation, result) = world.judge().await.unwrap();
    let details = &evaluation.results[0].details;
    assert_eq!(details.votes[0].scoring, Scoring::Probabilities);
    let vote = &details.votes[0].criteria[&Criterion::Style];
    assert!((vote.mean - 8.0).abs() < 1e-9 && (vote.entropy - 1.5).abs() < 1e-9, "{vote:?}");
    assert_eq!(double.chats()[0].body["logprobs"], true);
    let replies = String::from_utf8(world.read(&result, "replies.jsonl").await).unwrap();
    let kept: Value = serde_json::from_str(replies.lines().next().unwrap()).unwrap();
    assert_eq!(kept["tokens_logprobs"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn reasons_come_after_the_scores_where_there_are_probabilities_and_before_them_elsewhere() {
    let order = |double: &Double| {
        let text = double.chats().last().unwrap().body["messages"][0]["content"].to_string();
        text.find("scores").unwrap() < text.find("reasoning").unwrap()
    };
    for (tells, expected) in [(true, true), (false, false)] {
        let double =
            Double::start(move |_| if tells { probable(4, &[("4", 1.0)]) } else { Canned::scores(8) }).await;
        let mut world = World::new(&double.url, 1, false).await;
        world.options().reasoning = true;
        world.judge().await.unwrap();
        assert_eq!((order(&double), double.chats().len()), (expected, 2));
    }
}

#[tokio::test]
async fn without_probabilities_the_score_is_the_mean_of_repeats() {
    let double =
        Double::start(|call: &Call| Canned::scores(if call.index.is_multiple_of(2) { 6 } else { 8 })).await;
    let mut world = World::new(&double.url, 1, false).await;
    world.options().logprobs = false;
    world.options().repeats = 4;
    let (evaluation, _) = world.judge().await.unwrap();
    let vote = &evaluation.results[0].details.votes[0];
    assert_eq!((vote.scoring, vote.replies.len(), double.chats().len()), (Scoring::Repeats, 4, 4));
    assert!((mean_of(&evaluation, Criterion::Accuracy) - 7.0).abs() < 1e-9);
    assert!((vote.criteria[&Criterion::Accuracy].entropy - 1.0).abs() < 1e-9);
    assert!(double.chats().iter().all(|call| call.body["temperature"] == json!(1.0)));
}

#[tokio::test]
async fn too_few_readable_repeats_are_no_score() {
    let double =
        Double::start(
            |call: &Call| {
                if call.index == 0 { Canned::scores(8) } else { Canned::reply("nein", "stop") }
            },
        )
        .await;
    let mut world = World::new(&double.url, 1, false).await;
    (world.options().logprobs, world.options().repeats) = (false, 3);
    let (evaluation, result) = world.judge().await.unwrap();
    assert_eq!((result.unscored, evaluation.results.len()), (1, 0));
}

#[tokio::test]
async fn each_criterion_can_have_a_call_of_its_own() {
    let double = Double::start(|call: &Call| {
        let asks_style = call.body["messages"][0]["content"].as_str().unwrap().contains("\nstyle:")
            || call.body["messages"][0]["content"].as_str().unwrap().contains("\n\nstyle:");
        Canned::scores(if asks_style { 2 } else { 10 })
    })
    .await;
    let mut world = World::new(&double.url, 1, false).await;
    world.options().calls = JudgeCalls::Each;
    let (evaluation, _) = world.judge().await.unwrap();
    assert_eq!(double.chats().len(), 5);
    assert!((mean_of(&evaluation, Criterion::Style) - 2.0).abs() < 1e-9);
    assert!((mean_of(&evaluation, Criterion::Coherence) - 10.0).abs() < 1e-9);
}

#[tokio::test]
async fn a_panel_takes_the_mean_of_corrected_scores_and_shows_disagreement() {
    let (one, other) =
        (Double::start(|_| Canned::scores(8)).await, Double::start(|_| Canned::scores(2)).await);
    let mut world = World::new(&one.url, 1, false).await;
    world.options().panel =
        vec![PanelJudge { url: other.url.clone(), model: Some("second".into()), api_key_env: None }];
    let (plain, _) = world.judge().await.unwrap();
    assert_eq!(plain.panel.len(), 2);
    assert!((mean_of(&plain, Criterion::Style) - 5.0).abs() < 1e-9);
    assert!(plain.results[0].details.flags.contains(&Flag::Disagreement));

    let second = plain.panel[1].judge_id.clone();
    world.assignment.judge_offsets = [(second, [(Criterion::Style, 5.0)].into())].into();
    let (corrected, _) = world.judge().await.unwrap();
    assert!((mean_of(&corrected, Criterion::Style) - 7.5).abs() < 1e-9);
    assert!((mean_of(&corrected, Criterion::Accuracy) - 5.0).abs() < 1e-9);
    assert_eq!(corrected.offsets, world.assignment.judge_offsets);
    // The vote stays what the judge said.
    let vote = &corrected.results[0].details.votes[1].criteria[&Criterion::Style];
    assert!((vote.mean - 2.0).abs() < 1e-9);
}

#[tokio::test]
async fn a_panel_goes_on_while_more_than_half_of_it_gives_scores() {
    let good = Double::start(|_| Canned::scores(8)).await;
    let bad = Double::start(|_| Canned::reply("nein", "stop")).await;
    let judge = |double: &Double, model: &str| PanelJudge {
        url: double.url.clone(),
        model: Some(model.to_owned()),
        api_key_env: None,
    };
    let mut world = World::new(&good.url, 2, false).await;
    world.options().panel = vec![judge(&good, "second"), judge(&bad, "third")];
    let (evaluation, _) = world.judge().await.unwrap();
    assert_eq!((evaluation.results.len(), evaluation.results[0].details.votes.len()), (2, 2));
    let warnings = evaluation.health.warnings.join("\n");
    assert!(warnings.contains("third#") && warnings.contains("no scores for 2 of 2 answers"), "{warnings}");

    world.options().panel = vec![judge(&bad, "third")];
    assert_eq!(world.judge().await.unwrap().1.unscored, 2);
}

#[tokio::test]
async fn candidate_and_champion_are_compared_in_both_orders() {
    // Compares by order for odd samples, prefers the candidate for even ones.
    let double = Double::start(|call: &Call| {
        let turns = call.body["messages"].as_array().unwrap();
        if turns.len() < 6 {
            return by_answer(call);
        }
        let first = turns[3]["content"].as_str().unwrap();
        let is_even = ["2", "4"].iter().any(|number| first.contains(&format!(" {number}\n")));
        let better = if !is_even || first.contains("candidate") { "A" } else { "B" };
        Canned::reply(json!({ "better": better }).to_string(), "stop")
    })
    .await;
    let mut world = World::new(&double.url, 4, true).await;
    world.options().pairwise = true;
    let (evaluation, _) = world.judge().await.unwrap();
    let report = evaluation.pairwise.unwrap();
    let verdicts: Vec<_> = report.results.iter().map(PairwiseResult::verdict).collect();
    assert_eq!(verdicts, [Preference::Tie, Preference::Candidate, Preference::Tie, Preference::Candidate]);
    assert!((report.win_rate - 0.75).abs() < 1e-9);
    assert_eq!(evaluation.health.flip_rate, Some(0.5));
    let flipped = |number: usize| evaluation.results[number].details.flags.contains(&Flag::Flipped);
    assert_eq!([flipped(0), flipped(1)], [true, false]);
}

#[tokio::test]
async fn a_judge_that_falls_for_canaries_is_shown() {
    let double = Double::start(|_| Canned::scores(9)).await;
    let mut world = World::new(&double.url, 4, false).await;
    world.options().canaries = 5;
    let (gullible, _) = world.judge().await.unwrap();
    assert_eq!((gullible.health.canaries, gullible.health.canaries_failed), (5, 5));
    assert!(gullible.health.warnings[0].contains("gave 90 of 100 points to a canary"));
    let attacks: std::collections::BTreeSet<_> =
        double.chats().iter().take(5).map(|call| call.last_turn().to_owned()).collect();
    assert_eq!((attacks.len(), double.chats().len()), (5, 9));
    // Another attempt asks the same, so that its replies are there already.
    let (again, _) = world.judge().await.unwrap();
    assert_eq!((again.health.canaries_failed, double.chats().len()), (5, 9));

    let sceptic = Double::start(|call: &Call| {
        Canned::scores(if call.last_turn().contains("candidate") { 9 } else { 1 })
    })
    .await;
    world.options().url = Some(sceptic.url.clone());
    let (evaluation, result) = world.judge().await.unwrap();
    assert_eq!((evaluation.health.canaries, evaluation.health.canaries_failed), (5, 0));
    assert_eq!((result.samples, result.average_score), (4, Some(90.0)));
}

#[tokio::test]
async fn an_own_rubric_decides_what_is_scored_and_how_much_it_counts() {
    let double = Double::start(|_| {
        Canned::reply(json!({"scores": {"accuracy": 1, "relevance": 5, "style": 0}}).to_string(), "stop")
    })
    .await;
    let mut rubric = Rubric::built_in(Language::English);
    rubric.version = "own-1".into();
    rubric.criteria.truncate(3);
    rubric.criteria[0].weight = 3.0;
    rubric.criteria[0].hard_fail = Some(1.0);
    rubric.criteria[1].weight = 1.0;
    rubric.criteria[2].applies_when = AppliesWhen::Context;
    let mut world = World::new(&double.url, 1, false).await;
    world.options().rubric = RubricChoice::Own(Box::new(rubric.clone()));
    let (evaluation, _) = world.judge().await.unwrap();
    let score = &evaluation.results[0];
    let scores: BTreeMap<_, _> = score.criteria_scores.iter().collect();
    assert_eq!(scores, [(Criterion::Accuracy, 2.0), (Criterion::Relevance, 10.0)].into());
    assert!((score.overall_score - 40.0).abs() < 1e-9);
    assert!(score.details.checks[0].is_hard && score.details.checks[0].code == "rubric_hard_fail");
    assert_eq!(
        (&evaluation.judge.rubric_version, evaluation.rubric.as_ref()),
        (&"own-1".to_owned(), Some(&rubric))
    );
    assert!(double.chats()[0].body["messages"][0]["content"].as_str().unwrap().contains("strict and expert"));
}

#[tokio::test]
async fn the_way_of_asking_is_part_of_the_judges_name() {
    let double = Double::start(|_| Canned::scores(8)).await;
    let mut world = World::new(&double.url, 1, false).await;
    let (plain, _) = world.judge().await.unwrap();
    world.options().calls = JudgeCalls::Each;
    let (each, _) = world.judge().await.unwrap();
    assert_ne!(plain.judge.judge_id, each.judge.judge_id);
    assert_eq!(plain.judge.rubric_digest, each.judge.rubric_digest);
}
