//! Draws the screen: the answers beside each other, the scores with the judges' reasons, and what the keys do.

use clara_lifecycle::{
    review::{AnswerView, CitationMark, Piece, PieceChange, compare, marked},
    score::{CriteriaScores, Criterion, Preference},
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Borders, Clear, Paragraph, Wrap},
};

use super::{Marks, Mode, Screen, Typed};
use crate::figures;

/// Below so many columns the texts stand above each other.
const WIDE: u16 = 90;
const HELP: [&str; 12] = [
    "j  next answer          k  previous answer",
    "a  approve the version  r  reject the version (both want a reason)",
    "c  comment              s  scores: 1 to 5 for 2 to 10, + and - by halves, x as judged, Enter",
    "d  marks: what differs from the expected output, from the champion, citations alone",
    "b  blind: answers shuffled and without names and scores until you choose 1, 2 or 0",
    "up, down, page up, page down  scroll the texts",
    "q  quit; what you noted is kept, and the next time goes on here",
    "",
    "green: the answer alone has it; red, struck: it lacks it",
    "underlined: a citation; yellow: the text beside it does not cite it",
    "",
    "any key goes back",
];

impl Screen {
    /// Draws everything.
    pub(in super::super) fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let wide = area.width >= WIDE;
        let lower = if self.is_hidden() { 1 } else { 11 };
        let [head, prompt, texts, scores, foot] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(4),
            Constraint::Min(6),
            Constraint::Length(lower),
            Constraint::Length(2),
        ])
        .areas(area);
        frame.render_widget(Paragraph::new(self.head()), head);
        let prompt_text = Paragraph::new(figures::plain(&self.item.prompt)).wrap(Wrap { trim: false });
        frame.render_widget(prompt_text.block(Block::new().borders(Borders::BOTTOM).title("Prompt")), prompt);
        self.draw_texts(frame, texts, wide);
        if !self.is_hidden() {
            self.draw_scores(frame, scores);
        }
        frame.render_widget(Paragraph::new(self.foot()).wrap(Wrap { trim: false }), foot);
        self.draw_over(frame, area);
    }

    fn head(&self) -> Vec<Line<'static>> {
        let item = &self.item;
        let seen = self.sheet.lines.iter().filter(|line| line.seen).count();
        let place = format!("  {} of {}  {}  seen {seen}", item.place, item.of, item.sample_id);
        let mut first = vec![item.adapter_id.clone().bold(), place.into()];
        if self.is_hidden() {
            return vec![
                Line::from(first),
                Line::from("blind: which answer is better? 1, 2, or 0 for neither".bold()),
            ];
        }
        let mean = format!(
            "  mean {} (approved from {}, corrected {})",
            figures::number(self.sheet.mean, 1),
            self.sheet.approve_at,
            figures::number(self.sheet.corrected_mean, 1)
        );
        first.push(mean.into());
        let mut second = vec![Span::from(figures::number(item.candidate.overall, 1)).bold()];
        if let Some(corrected) = item.corrected {
            second.push(format!(" → {corrected:.1} by a reviewer").yellow());
        }
        for concern in &item.concerns {
            second.push(format!("  [{}]", concern.words()).yellow());
        }
        if let Some(unscored) = &item.unscored {
            second.push(format!("  {}", figures::plain(&unscored.detail)).red());
        }
        vec![Line::from(first), Line::from(second)]
    }

    fn draw_texts(&self, frame: &mut Frame<'_>, area: Rect, wide: bool) {
        let columns = self.columns();
        let share = Constraint::Ratio(1, u32::try_from(columns.len()).unwrap_or(1));
        let constraints = vec![share; columns.len()];
        let layout = if wide { Layout::horizontal(constraints) } else { Layout::vertical(constraints) };
        for ((title, text), area) in columns.into_iter().zip(layout.split(area).iter()) {
            let block = Block::new().borders(Borders::LEFT | Borders::TOP).title(title);
            let text = Paragraph::new(text).wrap(Wrap { trim: false }).scroll((self.scroll, 0));
            frame.render_widget(text.block(block), *area);
        }
    }

    fn columns(&self) -> Vec<(String, Vec<Line<'static>>)> {
        let item = &self.item;
        let expected = &item.expected_output;
        let candidate = &item.candidate;
        let mut columns = vec![("Expected".to_owned(), lines(&marked(expected, &candidate.text)))];
        if let Some(champion) = item.champion.as_ref().filter(|_| self.is_hidden()) {
            let mut both = [candidate, champion];
            if !self.candidate_is_first() {
                both.reverse();
            }
            for (number, answer) in both.into_iter().enumerate() {
                columns.push((format!("Answer {}", number + 1), lines(&self.pieces(expected, &answer.text))));
            }
            return columns;
        }
        let title = |name: &str, answer: &AnswerView| {
            let ratio = answer.length_ratio.map_or_else(String::new, |ratio| format!("  length ×{ratio:.1}"));
            format!("{name} {}{ratio}", figures::number(answer.overall, 1))
        };
        let mut reference = expected;
        if let Some(champion) = &item.champion {
            columns.push((title("Champion", champion), lines(&self.pieces(expected, &champion.text))));
            if self.marks == Marks::Champion {
                reference = &champion.text;
            }
        }
        columns.push((title("Candidate", candidate), lines(&self.pieces(reference, &candidate.text))));
        columns
    }

    fn pieces(&self, reference: &str, text: &str) -> Vec<Piece> {
        match self.marks {
            Marks::Expected | Marks::Champion => compare(reference, text),
            Marks::Citations => marked(text, reference),
        }
    }

    fn draw_scores(&self, frame: &mut Frame<'_>, area: Rect) {
        let [table, words] = Layout::horizontal([Constraint::Length(46), Constraint::Min(10)]).areas(area);
        let editing = match &self.mode {
            Mode::Scoring { chosen, scores } => Some((*chosen, scores)),
            Mode::Reading | Mode::Help | Mode::Typing { .. } => None,
        };
        let overridden = self.item.notes.overridden.as_ref();
        let rows = Criterion::ALL.into_iter().enumerate().map(|(index, criterion)| {
            let of = |answer: &AnswerView| {
                let mut scores = answer.scores.iter().flat_map(CriteriaScores::iter);
                scores.find(|(of, _)| *of == criterion).map(|(_, score)| score)
            };
            let judged = of(&self.item.candidate);
            let human = match editing {
                Some((_, scores)) => scores.get(&criterion),
                None => overridden.and_then(|overridden| overridden.scores.get(&criterion)),
            };
            let human = human.map_or_else(String::new, |score| format!(" → {score:.1}"));
            let champion = self.item.champion.as_ref().and_then(of);
            let text = format!("{criterion:<13}{:>5} {}", figures::number(judged, 1), bar(judged));
            let style = match editing {
                Some((chosen, _)) if chosen == index => Style::new().add_modifier(Modifier::REVERSED),
                Some(_) | None => Style::new(),
            };
            let champion = format!(" {:>4}", figures::number(champion, 1));
            Line::from(vec![Span::styled(text, style), human.yellow(), champion.dim()])
        });
        let block = Block::new().borders(Borders::TOP).title("Candidate, override, champion");
        frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()).block(block), table);
        let words_block = Block::new().borders(Borders::TOP).title("Checks, judges, reviewers");
        frame
            .render_widget(Paragraph::new(self.words()).wrap(Wrap { trim: false }).block(words_block), words);
    }

    fn words(&self) -> Vec<Line<'static>> {
        let details = &self.item.candidate.details;
        let mut lines: Vec<Line<'static>> = Vec::new();
        for check in &details.checks {
            let line = Line::from(format!("{}: {}", check.code, figures::plain(&check.text)));
            lines.push(if check.is_hard { line.red() } else { line });
        }
        for (who, preference) in &self.item.notes.preferences {
            let what = match preference {
                Preference::Candidate => "the candidate",
                Preference::Champion => "the champion",
                Preference::Tie => "neither",
            };
            lines.push(Line::from(format!("{who} preferred {what} blindly")));
        }
        if let Some(overridden) = &self.item.notes.overridden {
            lines.push(
                Line::from(format!("{}: {}", overridden.by, figures::plain(&overridden.reason))).yellow(),
            );
        }
        for (who, comment) in &self.item.notes.comments {
            lines.push(Line::from(format!("{who}: {}", figures::plain(&comment.text))).cyan());
        }
        for vote in &details.votes {
            for (criterion, vote_of) in &vote.criteria {
                if let Some(reason) = &vote_of.reason {
                    let reason = figures::plain(reason);
                    lines.push(Line::from(format!(
                        "{} {criterion} {:.1}: {reason}",
                        vote.judge_id, vote_of.mean
                    )));
                }
            }
        }
        if details.votes.is_empty() {
            lines.push(Line::from(figures::excerpt(&self.item.candidate.judge_reasoning, 600)).dim());
        }
        lines
    }

    fn foot(&self) -> Vec<Line<'static>> {
        let message = self.message.clone().unwrap_or_default();
        let keys = match &self.mode {
            Mode::Reading | Mode::Help => {
                "j next  k previous  a approve  r reject  c comment  s scores  d marks  b blind  ? help  q quit"
            }
            Mode::Scoring { .. } => {
                "1 to 5 set 2 to 10   + - by halves   x as judged   up down criterion   Enter done   Esc cancel"
            }
            Mode::Typing { .. } => "Enter done   Esc cancel",
        };
        vec![Line::from(message.yellow()), Line::from(keys.dim())]
    }

    fn draw_over(&self, frame: &mut Frame<'_>, area: Rect) {
        let (title, lines): (&str, Vec<Line<'_>>) = match &self.mode {
            Mode::Reading | Mode::Scoring { .. } => return,
            Mode::Help => ("Keys", HELP.iter().map(|line| Line::from(*line)).collect()),
            Mode::Typing { about, text } => {
                let title = match about {
                    Typed::Comment => "Comment (empty takes it back)",
                    Typed::Override(_) => "Why do you score otherwise?",
                    Typed::Approve => "Approve this version, because …",
                    Typed::Reject => "Reject this version, because …",
                };
                (title, vec![Line::from(format!("{text}▏"))])
            }
        };
        let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).max(4).saturating_add(2).min(area.height);
        let width = area.width.saturating_sub(4).min(100);
        let left = area.x + (area.width - width) / 2;
        let over = Rect { x: left, y: area.y + (area.height - height) / 2, width, height };
        frame.render_widget(Clear, over);
        let block = Block::bordered().title(title);
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).block(block), over);
    }
}

/// Ten places for 0 to 10.
fn bar(score: Option<f64>) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10")]
    let full = score.unwrap_or_default().clamp(0.0, 10.0).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(10 - full))
}

/// Marked pieces as lines that can be wrapped.
fn lines(pieces: &[Piece]) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    for piece in pieces {
        let text = figures::plain(&piece.text);
        for (index, part) in text.split('\n').enumerate() {
            if index > 0 {
                lines.push(Line::default());
            }
            if let Some(line) = lines.last_mut().filter(|_| !part.is_empty()) {
                line.push_span(Span::styled(part.to_owned(), style_of(piece)));
            }
        }
    }
    lines
}

fn style_of(piece: &Piece) -> Style {
    let style = match piece.change {
        PieceChange::Same => Style::new(),
        PieceChange::Added => Style::new().fg(Color::Green),
        PieceChange::Removed => Style::new().fg(Color::Red).add_modifier(Modifier::CROSSED_OUT),
    };
    match piece.citation {
        None => style,
        Some(CitationMark::Shared) => style.add_modifier(Modifier::UNDERLINED),
        Some(CitationMark::Alone) => style.fg(Color::Yellow).add_modifier(Modifier::UNDERLINED),
    }
}
