//! Text with marks: words that differ from another text, and citations.

use clara_lifecycle::review::{CitationMark, Piece, PieceChange};
use maud::{Markup, html};

/// Marked text; everything in it is escaped.
pub(super) fn marked_text(class: &str, pieces: &[Piece]) -> Markup {
    let piece = |piece: &Piece| {
        let citation = match piece.citation {
            None => html! { (piece.text) },
            Some(CitationMark::Shared) => html! { cite.shared title="both texts cite it" { (piece.text) } },
            Some(CitationMark::Alone) => {
                html! { cite.alone title="the text beside it does not cite it" { (piece.text) } }
            }
        };
        match piece.change {
            PieceChange::Same => citation,
            PieceChange::Added => html! { ins { (citation) } },
            PieceChange::Removed => html! { del { (citation) } },
        }
    };
    html! { div class={ "text marked " (class) } { @for one in pieces { (piece(one)) } } }
}
