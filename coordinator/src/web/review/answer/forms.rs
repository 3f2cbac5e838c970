//! What a reviewer can do about an answer: choose blindly, comment, score.

use clara_lifecycle::{
    review::{LONGEST_TEXT, ReviewItem},
    score::Criterion,
};
use maud::{Markup, html};

use super::super::encoded;
use crate::web::Visitor;

/// Which answer is better, before anything is told about them.
pub(super) fn choice(item: &ReviewItem, reviewer: &str, visitor: &Visitor) -> Markup {
    html! {
        @if reviewer.is_empty() {
            p.notice { a href="/name" { "Say who you are" } " to choose." }
        } @else {
            form.inline.choice method="post" action=(action(item)) data-change {
                (hidden(item, true, "prefer", visitor))
                b { "Which answer is better?" }
                button name="choice" value="first" data-key="1" { "Answer 1 " kbd { "1" } }
                button name="choice" value="second" data-key="2" { "Answer 2 " kbd { "2" } }
                button.quiet name="choice" value="neither" data-key="0" { "Neither " kbd { "0" } }
            }
        }
    }
}

/// Comment and scores.
pub(super) fn body(item: &ReviewItem, is_blind: bool, visitor: &Visitor) -> Markup {
    let own = item.notes.comments.get(visitor.name().unwrap_or_default());
    html! {
        div.forms {
            details #comment {
                summary { "Comment " kbd { "c" } }
                form.stack method="post" action=(action(item)) data-change {
                    (hidden(item, is_blind, "comment", visitor))
                    label { "Your remark; empty takes it back"
                        textarea name="text" rows="3" maxlength=(LONGEST_TEXT) {
                            (own.map(|comment| comment.text.as_str()).unwrap_or_default())
                        }
                    }
                    button { "Keep the comment" }
                }
            }
            details #scores {
                summary { "Edit scores " kbd { "s" } }
                form.stack method="post" action=(action(item)) data-change {
                    (hidden(item, is_blind, "override", visitor))
                    input type="hidden" name="based_on" value=(item.notes.revision);
                    p.small.faint { "Marks from 1 to 5 stand for 2 to 10; a criterion left empty stays as judged." }
                    @for criterion in Criterion::ALL { (row(item, criterion)) }
                    label { "Why do you score otherwise?"
                        textarea name="reason" rows="2" required maxlength=(LONGEST_TEXT) {}
                    }
                    button { "Keep the scores" }
                }
            }
        }
    }
}

fn row(item: &ReviewItem, criterion: Criterion) -> Markup {
    let given = item.notes.overridden.as_ref().and_then(|by| by.scores.get(&criterion).copied());
    let is_mark = |mark: u8, given: f64| (given - f64::from(mark * 2)).abs() < 1e-9;
    // The number wins over the mark, so that it stands only where no mark says it.
    let exact = given.filter(|given| !(1..=5).any(|mark| is_mark(mark, *given)));
    html! {
        fieldset.mark {
            legend { (criterion) }
            @for mark in 1..=5_u8 {
                label {
                    input type="radio" name={ (criterion) "_mark" } value=(mark * 2)
                        checked[given.is_some_and(|given| is_mark(mark, given))];
                    (mark)
                }
            }
            input type="number" name=(criterion) min="0" max="10" step="0.5" value=[exact]
                aria-label={ (criterion) " from 0 to 10" };
        }
    }
}

fn action(item: &ReviewItem) -> String {
    format!("/review/{}/changes", encoded(&item.adapter_id))
}

fn hidden(item: &ReviewItem, is_blind: bool, change: &str, visitor: &Visitor) -> Markup {
    html! {
        (visitor.token_field())
        input type="hidden" name="change" value=(change);
        input type="hidden" name="sample" value=(item.sample_id);
        @if is_blind { input type="hidden" name="blind" value="1"; }
    }
}
