//! What a reviewer sees on the terminal and what the keys do; it neither reads keys nor talks to a coordinator.

mod draw;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clara_lifecycle::{
    review::{ReviewChange, ReviewItem, ReviewSheet, SavedReview, candidate_stands_first},
    score::{Criterion, Preference},
};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Todo {
    /// Nothing more.
    Nothing,
    /// Another answer.
    Show(String),
    /// To be stored.
    Save(ReviewChange),
    /// The verdict.
    Decide { approve: bool, reason: String },
    /// The end.
    Quit,
}

/// What stands marked in the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    /// Words that the expected output does not have, or has more.
    Expected,
    /// The same beside the champion.
    Champion,
    /// Citations alone.
    Citations,
}

#[derive(Debug, Clone, PartialEq)]
enum Mode {
    Reading,
    Help,
    Scoring { chosen: usize, scores: BTreeMap<Criterion, f64> },
    Typing { about: Typed, text: String },
}

#[derive(Debug, Clone, PartialEq)]
enum Typed {
    Comment,
    Override(BTreeMap<Criterion, f64>),
    Approve,
    Reject,
}

/// The state of the screen.
#[derive(Debug)]
pub(super) struct Screen {
    reviewer: String,
    sheet: ReviewSheet,
    item: ReviewItem,
    marks: Marks,
    is_blind: bool,
    mode: Mode,
    message: Option<String>,
    scroll: u16,
}

impl Screen {
    pub(super) fn new(reviewer: &str, sheet: ReviewSheet, item: ReviewItem, is_blind: bool) -> Self {
        Self {
            reviewer: reviewer.to_owned(),
            sheet,
            item,
            marks: Marks::Expected,
            is_blind,
            mode: Mode::Reading,
            message: None,
            scroll: 0,
        }
    }

    pub(super) fn adapter_id(&self) -> &str {
        &self.sheet.adapter_id
    }

    pub(super) fn reviewer(&self) -> &str {
        &self.reviewer
    }

    pub(super) fn sample_id(&self) -> &str {
        &self.item.sample_id
    }

    pub(super) fn revision(&self) -> u64 {
        self.sheet.revision
    }

    /// The sample, when it is shown whole and not noted as seen.
    pub(super) fn unseen(&self) -> Option<String> {
        let is_new = !self.item.notes.seen_by.contains(&self.reviewer);
        (is_new && !self.is_hidden()).then(|| self.item.sample_id.clone())
    }

    /// Shows another answer.
    pub(super) fn show(&mut self, item: ReviewItem) {
        self.item = item;
        self.scroll = 0;
        self.message = None;
    }

    /// Takes over what was changed elsewhere.
    pub(super) fn renew(&mut self, sheet: ReviewSheet, item: ReviewItem) {
        self.sheet = sheet;
        self.item = item;
    }

    /// Takes over what was stored.
    pub(super) fn saved(&mut self, change: &ReviewChange, saved: SavedReview) {
        self.sheet.revision = saved.revision;
        if let Some(item) = saved.item {
            let seen = item.notes.seen_by.contains(&self.reviewer);
            let comments = item.notes.comments.len();
            if let Some(line) = self.sheet.lines.iter_mut().find(|line| line.sample_id == item.sample_id) {
                (line.seen, line.corrected, line.comments) = (seen, item.corrected, comments);
            }
            self.item = item;
        }
        self.message = match change {
            ReviewChange::Seen { .. } => return,
            ReviewChange::Comment { .. } => Some("the comment is kept".to_owned()),
            ReviewChange::Override { .. } => Some("the scores are kept".to_owned()),
            ReviewChange::Prefer { .. } => Some("your choice is kept".to_owned()),
            ReviewChange::Draft { text } => {
                self.sheet.draft = Some(text.clone());
                Some("the reason is kept as a draft".to_owned())
            }
        };
    }

    /// Tells the reviewer something.
    pub(super) fn tell(&mut self, message: &str) {
        self.message = Some(message.to_owned());
    }

    /// Does what a key means.
    pub(super) fn press(&mut self, key: KeyEvent) -> Todo {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Todo::Quit } else { Todo::Nothing };
        }
        match std::mem::replace(&mut self.mode, Mode::Reading) {
            Mode::Reading => self.read(key.code),
            Mode::Help => Todo::Nothing,
            Mode::Scoring { chosen, scores } => self.score(key.code, chosen, scores),
            Mode::Typing { about, text } => self.type_text(key.code, about, text),
        }
    }

    /// Whether the reviewer must not know yet whose answer is whose.
    fn is_hidden(&self) -> bool {
        self.is_blind
            && self.item.champion.is_some()
            && !self.item.notes.preferences.contains_key(&self.reviewer)
    }

    fn candidate_is_first(&self) -> bool {
        candidate_stands_first(&self.sheet.adapter_id, &self.item.sample_id, &self.reviewer)
    }

    fn read(&mut self, key: KeyCode) -> Todo {
        match key {
            KeyCode::Char('j') | KeyCode::Right => {
                return self.go(self.item.next.clone(), "this is the last answer");
            }
            KeyCode::Char('k') | KeyCode::Left => {
                return self.go(self.item.previous.clone(), "this is the first answer");
            }
            KeyCode::Char('q') | KeyCode::Esc => return Todo::Quit,
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('d') => self.marks = self.next_marks(),
            KeyCode::Char('b') => self.turn_blind(),
            KeyCode::Char('c') => self.comment(),
            KeyCode::Char('s') if self.is_hidden() => {
                self.tell("first choose an answer: 1, 2, or 0 for neither");
            }
            KeyCode::Char('s') => self.mode = Mode::Scoring { chosen: 0, scores: self.overridden() },
            KeyCode::Char('a') => self.decide(Typed::Approve),
            KeyCode::Char('r') => self.decide(Typed::Reject),
            KeyCode::Char(digit @ '0'..='2') if self.is_hidden() => return self.prefer(digit),
            KeyCode::Down => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Up => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(10),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(10),
            _ => {}
        }
        Todo::Nothing
    }

    fn go(&mut self, to: Option<String>, nowhere: &str) -> Todo {
        if let Some(sample_id) = to {
            return Todo::Show(sample_id);
        }
        self.tell(nowhere);
        Todo::Nothing
    }

    fn next_marks(&self) -> Marks {
        match self.marks {
            Marks::Expected if self.item.champion.is_some() => Marks::Champion,
            Marks::Expected | Marks::Champion => Marks::Citations,
            Marks::Citations => Marks::Expected,
        }
    }

    fn turn_blind(&mut self) {
        if self.item.champion.is_none() {
            self.tell("there is no champion's answer to compare with");
            return;
        }
        self.is_blind = !self.is_blind;
        self.message = None;
    }

    fn comment(&mut self) {
        let own = self.item.notes.comments.get(&self.reviewer);
        let text = own.map(|comment| comment.text.clone()).unwrap_or_default();
        self.mode = Mode::Typing { about: Typed::Comment, text };
    }

    fn decide(&mut self, about: Typed) {
        let text = self.sheet.draft.clone().unwrap_or_default();
        self.mode = Mode::Typing { about, text };
    }

    fn overridden(&self) -> BTreeMap<Criterion, f64> {
        self.item.notes.overridden.as_ref().map(|overridden| overridden.scores.clone()).unwrap_or_default()
    }

    fn prefer(&self, digit: char) -> Todo {
        let preference = match (digit, self.candidate_is_first()) {
            ('1', true) | ('2', false) => Preference::Candidate,
            ('1', false) | ('2', true) => Preference::Champion,
            _ => Preference::Tie,
        };
        Todo::Save(ReviewChange::Prefer { sample_id: self.item.sample_id.clone(), preference })
    }

    /// Digits 1 to 5 stand for 2 to 10.
    fn score(&mut self, key: KeyCode, chosen: usize, mut scores: BTreeMap<Criterion, f64>) -> Todo {
        let last = Criterion::ALL.len() - 1;
        let Some(&criterion) = Criterion::ALL.get(chosen) else { return Todo::Nothing };
        let judged = self
            .item
            .candidate
            .scores
            .as_ref()
            .and_then(|judged| judged.iter().find(|(of, _)| *of == criterion).map(|(_, score)| score));
        let now = scores.get(&criterion).copied().or(judged).unwrap_or(5.0);
        let mut next = chosen;
        match key {
            KeyCode::Esc => return Todo::Nothing,
            KeyCode::Enter => {
                if scores != self.overridden() {
                    self.mode = Mode::Typing { about: Typed::Override(scores), text: String::new() };
                }
                return Todo::Nothing;
            }
            KeyCode::Char('j') | KeyCode::Down | KeyCode::Tab => next = (chosen + 1).min(last),
            KeyCode::Char('k') | KeyCode::Up | KeyCode::BackTab => next = chosen.saturating_sub(1),
            KeyCode::Char(digit @ '1'..='5') => {
                scores.insert(criterion, digit.to_digit(10).map_or(now, |digit| f64::from(digit * 2)));
                next = (chosen + 1).min(last);
            }
            KeyCode::Right | KeyCode::Char('+') => {
                scores.insert(criterion, (now + 0.5).min(10.0));
            }
            KeyCode::Left | KeyCode::Char('-') => {
                scores.insert(criterion, (now - 0.5).max(0.0));
            }
            KeyCode::Char('x') => {
                scores.remove(&criterion);
            }
            _ => {}
        }
        self.mode = Mode::Scoring { chosen: next, scores };
        Todo::Nothing
    }

    fn type_text(&mut self, key: KeyCode, about: Typed, mut text: String) -> Todo {
        match key {
            KeyCode::Enter => return self.typed(about, text),
            KeyCode::Esc => {
                let is_reason = matches!(about, Typed::Approve | Typed::Reject);
                let is_new = self.sheet.draft.as_deref().unwrap_or_default() != text;
                return if is_reason && is_new {
                    Todo::Save(ReviewChange::Draft { text })
                } else {
                    Todo::Nothing
                };
            }
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char(character) => text.push(character),
            _ => {}
        }
        self.mode = Mode::Typing { about, text };
        Todo::Nothing
    }

    fn typed(&mut self, about: Typed, text: String) -> Todo {
        let sample_id = self.item.sample_id.clone();
        if text.trim().is_empty() && about != Typed::Comment {
            self.tell("a reason is required");
            self.mode = Mode::Typing { about, text };
            return Todo::Nothing;
        }
        match about {
            Typed::Comment => Todo::Save(ReviewChange::Comment { sample_id, text }),
            Typed::Approve => Todo::Decide { approve: true, reason: text },
            Typed::Reject => Todo::Decide { approve: false, reason: text },
            Typed::Override(scores) => {
                let based_on = self.item.notes.revision;
                Todo::Save(ReviewChange::Override { sample_id, scores, reason: text, based_on })
            }
        }
    }
}
