//! `clara review next`: one answer after another, on a terminal; elsewhere the next one as text or document.

use std::io::{self, IsTerminal};

use anyhow::{Result, bail};
use clap::Args;
use clara_lifecycle::{
    review::{
        AnswerView, Piece, PieceChange, ReviewChange, ReviewItem, ReviewSheet, candidate_stands_first,
        compare,
    },
    score::CriteriaScores,
};
use clara_proto::v1;
use ratatui::crossterm::event::{Event, KeyEventKind};

use super::{
    super::{Actor, DONE, INTERRUPTED},
    screen::{Screen, Todo},
    see_through,
    terminal::Terminal,
};
use crate::{
    client::{Client, Reviewed},
    embedded::Workers,
    figures,
    output::Output,
    session::Session,
};

/// Which answer.
#[derive(Debug, Clone, Args)]
pub(crate) struct NextArgs {
    /// The version's id; without it the one that deserves a look first
    adapter: Option<String>,
    /// Begin with this sample instead of the first one not seen
    #[arg(long, value_name = "ID")]
    sample: Option<String>,
    /// Do not tell whose answer is whose, nor any score, before you prefer one
    #[arg(long)]
    blind: bool,
    #[command(flatten)]
    by: Actor,
}

pub(crate) async fn run(session: &Session, args: NextArgs) -> Result<u8> {
    let on_terminal = is_interactive(session.output);
    if on_terminal {
        // What is looked at there is noted under the reviewer's name.
        args.by.name()?;
    }
    let workers = if on_terminal { Workers::Decision } else { Workers::None };
    let connection = session.connect_with(workers).await?;
    let done = tokio::select! {
        done = review(session, &connection.client, &args, on_terminal) => done,
        () = session.interrupt.cancelled() => Ok(INTERRUPTED),
    };
    connection.close().await;
    done
}

fn is_interactive(output: Output) -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !output.is_json() && !is_dumb && io::stdin().is_terminal() && io::stdout().is_terminal()
}

async fn review(session: &Session, client: &Client, args: &NextArgs, on_terminal: bool) -> Result<u8> {
    let reviewer = args.by.or_nobody();
    let first = if let Some(adapter_id) = &args.adapter {
        Some(adapter_id.clone())
    } else {
        let mut queued = client.reviews(reviewer).await?.into_iter();
        queued.find(|queued| queued.samples > 0).map(|queued| queued.adapter_id)
    };
    let Some(adapter_id) = first else {
        session.output.note("no version with an evaluation waits for a decision");
        return Ok(DONE);
    };
    let sheet = client.review_sheet(&adapter_id, reviewer).await?;
    let Some(sample_id) = args.sample.clone().or_else(|| sheet.next.clone()) else {
        bail!("the evaluation of {adapter_id} has no samples");
    };
    let item = client.review_item(&adapter_id, reviewer, &sample_id).await?;
    if on_terminal {
        return on_screen(session, client, Screen::new(reviewer, sheet, item, args.blind)).await;
    }
    if session.output.is_json() {
        session.output.json(&item)?;
    } else {
        session.output.fields(&described(&sheet, &item, args.blind.then_some(reviewer)))?;
    }
    Ok(DONE)
}

/// Lets the reviewer work until the verdict, or the wish to stop.
async fn on_screen(session: &Session, client: &Client, mut screen: Screen) -> Result<u8> {
    let mut terminal = Terminal::open()?;
    saw(client, &mut screen).await;
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        let key = match terminal.event().await? {
            Some(Event::Key(key)) if key.kind != KeyEventKind::Release => key,
            Some(_) => continue,
            None => return Ok(INTERRUPTED),
        };
        match screen.press(key) {
            Todo::Nothing => {}
            Todo::Quit => return Ok(DONE),
            Todo::Show(sample_id) => {
                match client.review_item(screen.adapter_id(), screen.reviewer(), &sample_id).await {
                    Ok(item) => screen.show(item),
                    Err(error) => screen.tell(&error.to_string()),
                }
                saw(client, &mut screen).await;
            }
            Todo::Save(change) => save(client, &mut screen, &change).await,
            Todo::Decide { approve, reason } => {
                let request = v1::ReviewAdapterRequest {
                    adapter_id: screen.adapter_id().to_owned(),
                    approve,
                    actor: screen.reviewer().to_owned(),
                    reason,
                    review_revision: Some(screen.revision()),
                };
                match client.review(request).await {
                    Ok(Reviewed { waits: Some(waits), .. }) => {
                        screen.tell(&format!("recorded; {waits}"));
                        refresh(client, &mut screen).await;
                    }
                    Ok(Reviewed { adapter, job_id, .. }) => {
                        drop(terminal);
                        if let Some(job_id) = job_id {
                            see_through(client, &job_id).await?;
                        }
                        let word = if approve { "approved" } else { "rejected" };
                        session.output.note(format!("{} is {word}", adapter.version.adapter_id));
                        return Ok(DONE);
                    }
                    Err(error) => {
                        screen.tell(&error.to_string());
                        refresh(client, &mut screen).await;
                    }
                }
            }
        }
    }
}

/// Notes that the reviewer has seen the answer, unless it is still to be judged blindly.
async fn saw(client: &Client, screen: &mut Screen) {
    if let Some(sample_id) = screen.unseen() {
        let change = ReviewChange::Seen { sample_id };
        save(client, screen, &change).await;
    }
}

async fn save(client: &Client, screen: &mut Screen, change: &ReviewChange) {
    match client.save_review(screen.adapter_id(), screen.reviewer(), change).await {
        Ok(saved) => screen.saved(change, saved),
        Err(error) => {
            screen.tell(&error.to_string());
            refresh(client, screen).await;
        }
    }
}

/// Shows what others did meanwhile.
async fn refresh(client: &Client, screen: &mut Screen) {
    let sheet = client.review_sheet(screen.adapter_id(), screen.reviewer()).await;
    let item = client.review_item(screen.adapter_id(), screen.reviewer(), screen.sample_id()).await;
    if let (Ok(sheet), Ok(item)) = (sheet, item) {
        screen.renew(sheet, item);
    }
}

/// The answer as names and values; without whose is whose for `blind_reviewer`.
fn described(
    sheet: &ReviewSheet,
    item: &ReviewItem,
    blind_reviewer: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("adapter", format!("{}, answer {} of {}", item.adapter_id, item.place, item.of)),
        ("sample", item.sample_id.clone()),
        ("prompt", figures::plain(&item.prompt)),
        ("expected", figures::plain(&item.expected_output)),
    ];
    if let (Some(reviewer), Some(champion)) = (blind_reviewer, &item.champion) {
        let mut answers = [&item.candidate, champion];
        if !candidate_stands_first(&item.adapter_id, &item.sample_id, reviewer) {
            answers.reverse();
        }
        let [first, second] = answers.map(|answer| figures::plain(&answer.text));
        fields.extend([("answer 1", first), ("answer 2", second)]);
        return fields;
    }
    if let Some(champion) = &item.champion {
        fields.extend([("champion", figures::plain(&champion.text)), ("its score", scores(champion))]);
    }
    fields.push(("candidate", figures::plain(&item.candidate.text)));
    fields.push(("its score", scores(&item.candidate)));
    fields.push(("changes", changes(&compare(&item.expected_output, &item.candidate.text))));
    let corrected = item.corrected.map(|score| format!("{score:.1} with the reviewers' scores"));
    fields.extend(corrected.map(|corrected| ("corrected", corrected)));
    let concerns: Vec<_> = item.concerns.iter().map(|concern| concern.words()).collect();
    fields.push(("look at", concerns.join(", ")));
    for check in &item.candidate.details.checks {
        fields.push(("check", figures::plain(&check.text)));
    }
    for vote in &item.candidate.details.votes {
        let reasons = vote.criteria.iter().filter_map(|(criterion, vote)| {
            Some(format!("{criterion} {:.1}: {}", vote.mean, figures::plain(vote.reason.as_deref()?)))
        });
        fields.push(("judge", format!("{}\n{}", vote.judge_id, reasons.collect::<Vec<_>>().join("\n"))));
    }
    for (who, comment) in &item.notes.comments {
        fields.push(("comment", format!("{who}: {}", figures::plain(&comment.text))));
    }
    let seen = sheet.lines.iter().filter(|line| line.seen).count();
    fields.push(("seen", format!("{seen} of {}", item.of)));
    fields
}

fn scores(answer: &AnswerView) -> String {
    let criteria = answer.scores.iter().flat_map(CriteriaScores::iter);
    let criteria: Vec<_> = criteria.map(|(criterion, score)| format!("{criterion} {score:.1}")).collect();
    format!("{} ({})", figures::number(answer.overall, 1), criteria.join(", "))
}

/// Changed words in one line: `[-removed-]{+added+}`, as `git diff --word-diff` writes them.
fn changes(pieces: &[Piece]) -> String {
    let word = |piece: &Piece| {
        let text = figures::plain(&piece.text);
        match piece.change {
            PieceChange::Same => text,
            PieceChange::Added => format!("{{+{text}+}}"),
            PieceChange::Removed => format!("[-{text}-]"),
        }
    };
    pieces.iter().map(word).collect()
}
