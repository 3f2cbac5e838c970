//! The review pages: the queue, a version with one answer beside the others, and what reviewers do.

mod answer;
mod queue;
mod sheet;

use std::collections::BTreeMap;

use axum::{
    Router,
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use clara_lifecycle::{
    job::Verdict,
    review::{ReviewChange, candidate_stands_first},
    score::{Criterion, Preference},
};
use serde::Deserialize;

use super::{Page, PageError, Problem, Section, SignedForm, Site, Visitor};
use crate::{control_service::Control, registry::Review};

/// Tells that a script asks and wants the answer's part of the page alone.
const PART: &str = "x-part";

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/review", get(show_queue))
        .route("/review/{adapter}", get(show_sheet))
        .route("/review/{adapter}/answers", get(show_list))
        .route("/review/{adapter}/answers/{sample}", get(show_answer))
        .route("/review/{adapter}/changes", post(change))
        .route("/review/{adapter}/verdict", post(decide))
}

/// What of a version is shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Asked {
    sample: Option<String>,
    blind: Option<String>,
    /// Set after an approval that waits for a second one.
    waits: Option<String>,
    /// Set for the whole list of answers.
    all: Option<String>,
}

impl Asked {
    fn is_blind(&self) -> bool {
        self.blind.as_deref().is_some_and(|blind| !blind.is_empty())
    }

    /// What links carry along.
    fn blind_query(&self) -> &'static str {
        if self.is_blind() { "&blind=1" } else { "" }
    }
}

async fn show_queue(State(control): State<Control>, visitor: Visitor) -> Result<Response, PageError> {
    let queue = control.reviews.queue(visitor.name().unwrap_or_default()).await?;
    Ok(Page::new("Review", Section::Review).show(&visitor, &queue::body(&queue)))
}

async fn show_sheet(
    State(control): State<Control>,
    Path(adapter_id): Path<String>,
    Query(asked): Query<Asked>,
    visitor: Visitor,
) -> Result<Response, PageError> {
    let reviewer = visitor.name().unwrap_or_default();
    let sheet = control.reviews.sheet(&adapter_id, reviewer).await?;
    let item = match asked.sample.as_ref().or(sheet.next.as_ref()) {
        Some(sample_id) => Some(control.reviews.item(&adapter_id, sample_id, reviewer).await?),
        None => None,
    };
    let body = sheet::body(&sheet, item.as_ref(), &asked, &visitor);
    let page = Page::new(format!("Review of {}", sheet.adapter_id), Section::Review).with_script("review.js");
    Ok(page.show(&visitor, &body))
}

/// The whole list of answers, for the script that puts it into the page once that is painted.
async fn show_list(
    State(control): State<Control>,
    Path(adapter_id): Path<String>,
    Query(asked): Query<Asked>,
    visitor: Visitor,
) -> Result<Response, PageError> {
    let sheet = control.reviews.sheet(&adapter_id, visitor.name().unwrap_or_default()).await?;
    let entries = sheet::entries(&sheet, &asked, asked.sample.as_deref());
    Ok(Html(entries.into_string()).into_response())
}

async fn show_answer(
    State(control): State<Control>,
    Path((adapter_id, sample_id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    visitor: Visitor,
) -> Result<Response, PageError> {
    part(&control, (&adapter_id, &sample_id), &asked, &visitor).await
}

async fn part(
    control: &Control,
    (adapter_id, sample_id): (&str, &str),
    asked: &Asked,
    visitor: &Visitor,
) -> Result<Response, PageError> {
    let reviewer = visitor.name().unwrap_or_default();
    let item = control.reviews.item(adapter_id, sample_id, reviewer).await?;
    let sheet = control.reviews.sheet(adapter_id, reviewer).await?;
    Ok(Html(answer::part(&sheet, &item, asked.is_blind(), visitor).into_string()).into_response())
}

/// A change as a form of the page has it; scores left empty stay as judged.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ChangeForm {
    change: String,
    sample: String,
    text: String,
    reason: String,
    based_on: u64,
    choice: Option<Choice>,
    blind: Option<String>,
    #[serde(flatten)]
    scores: BTreeMap<String, String>,
}

/// Which of two answers without names is better.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Choice {
    First,
    Second,
    Neither,
}

impl Choice {
    fn preference(self, first_is_candidate: bool) -> Preference {
        match (self, first_is_candidate) {
            (Self::First, true) | (Self::Second, false) => Preference::Candidate,
            (Self::First, false) | (Self::Second, true) => Preference::Champion,
            (Self::Neither, _) => Preference::Tie,
        }
    }
}

impl ChangeForm {
    fn change(&self, adapter_id: &str, reviewer: &str) -> Result<ReviewChange, PageError> {
        let (sample_id, text) = (self.sample.clone(), self.text.clone());
        let problem = |message: String| PageError::from(Problem::bad_request(&message));
        Ok(match self.change.as_str() {
            "seen" => ReviewChange::Seen { sample_id },
            "comment" => ReviewChange::Comment { sample_id, text },
            "draft" => ReviewChange::Draft { text },
            "prefer" => {
                let choice = self.choice.ok_or_else(|| problem("choose one of the answers".to_owned()))?;
                let first_is_candidate = candidate_stands_first(adapter_id, &sample_id, reviewer);
                ReviewChange::Prefer { sample_id, preference: choice.preference(first_is_candidate) }
            }
            "override" => ReviewChange::Override {
                sample_id,
                scores: self.scores()?,
                reason: self.reason.clone(),
                based_on: self.based_on,
            },
            other => {
                return Err(problem(format!(
                    "`{other}` is not a change; expected seen, comment, draft, prefer or override"
                )));
            }
        })
    }

    /// The exact number where one is given, else the mark from 1 to 5.
    fn scores(&self) -> Result<BTreeMap<Criterion, f64>, PageError> {
        let mut scores = BTreeMap::new();
        for criterion in Criterion::ALL {
            let field =
                |name: String| self.scores.get(&name).map(|text| text.trim()).filter(|text| !text.is_empty());
            let given = field(criterion.to_string()).or_else(|| field(format!("{criterion}_mark")));
            let Some(given) = given else { continue };
            let score = given.replace(',', ".").parse().map_err(|_| {
                Problem::bad_request(&format!(
                    "the score for {criterion} is `{given}`; expected a number from 0 to 10"
                ))
            })?;
            scores.insert(criterion, score);
        }
        Ok(scores)
    }
}

async fn change(
    State(control): State<Control>,
    Path(adapter_id): Path<String>,
    visitor: Visitor,
    headers: HeaderMap,
    SignedForm(form): SignedForm<ChangeForm>,
) -> Result<Response, PageError> {
    let reviewer = visitor.named()?;
    control.reviews.save(&adapter_id, reviewer, &form.change(&adapter_id, reviewer)?).await?;
    if headers.contains_key(PART) && !form.sample.is_empty() {
        let asked = Asked { blind: form.blind.clone(), ..Asked::default() };
        return part(&control, (&adapter_id, &form.sample), &asked, &visitor).await;
    }
    let blind = if form.blind.as_deref().is_some_and(|blind| !blind.is_empty()) { "&blind=1" } else { "" };
    Ok(Redirect::to(&format!("{}{blind}", link(&adapter_id, &form.sample))).into_response())
}

/// A verdict as the form of the page has it.
#[derive(Debug, Deserialize)]
struct VerdictForm {
    verdict: Verdict,
    reason: String,
    revision: u64,
}

async fn decide(
    State(control): State<Control>,
    Path(adapter_id): Path<String>,
    visitor: Visitor,
    SignedForm(form): SignedForm<VerdictForm>,
) -> Result<Response, PageError> {
    let VerdictForm { verdict, reason, revision } = form;
    let review = Review { verdict, actor: visitor.named()?.to_owned(), reason };
    let reviewed = control.reviews.decide(&adapter_id, review, Some(revision)).await?;
    let waits = if reviewed.waits.is_some() { "?waits=1" } else { "" };
    Ok(Redirect::to(&format!("/review/{}{waits}", encoded(&adapter_id))).into_response())
}

/// The page of a version with one of its answers.
fn link(adapter_id: &str, sample_id: &str) -> String {
    format!("/review/{}?sample={}", encoded(adapter_id), encoded(sample_id))
}

/// Text as part of a path or of what stands behind its question mark.
fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let one = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests;
