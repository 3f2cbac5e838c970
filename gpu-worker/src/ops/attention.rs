//! Causal grouped-query attention over rows of several heads, without a matrix of all scores.

mod backward;
pub mod cuda;
mod forward;

pub use backward::{AttentionBackward, attention_backward, partial_length};
pub use forward::attention;

use super::{OpError, check_length, matmul::Matrix};

const OPERATION: &str = "attention";
/// Query rows that are handled together; keys after the last of them are never used.
const BLOCK: usize = 64;
/// Rows of a panel of [`HeadRows::Panels`].
pub const PANEL: usize = 64;

/// How the heads of a row are laid out, and what they see.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// Query heads.
    pub query: usize,
    /// Key and value heads; divides `query`.
    pub key_value: usize,
    /// Width of one head.
    pub dim: usize,
    /// What scores are multiplied by; `None` for 1/√dim.
    pub scale: Option<f32>,
    /// Keys that a query sees, its own and those right before it; `None` for all.
    pub window: Option<usize>,
}

impl Heads {
    /// Width of a row of queries.
    pub fn query_width(self) -> usize {
        self.query * self.dim
    }

    /// Query heads that share keys and values.
    fn group(self) -> usize {
        self.query / self.key_value.max(1)
    }

    /// Width of a row of keys or values.
    pub fn key_value_width(self) -> usize {
        self.key_value * self.dim
    }

    #[expect(clippy::cast_precision_loss, reason = "a head is far narrower than 2²⁴")]
    fn scale(self) -> f32 {
        self.scale.unwrap_or_else(|| 1.0 / (self.dim as f32).sqrt())
    }

    /// First key that the query at `position` sees.
    fn first_key(self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }
}

/// Consecutive query rows that see the same keys: a document, or the new tokens of a sequence.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// How many query rows; they follow those of the span before.
    pub rows: usize,
    /// At least `rows` keys; the last `rows` of them belong to the queries.
    pub keys: HeadRows<'a>,
    /// Values, in the shape of the keys.
    pub values: HeadRows<'a>,
}

/// Keys or values of all heads.
#[derive(Debug, Clone, Copy)]
pub enum HeadRows<'a> {
    /// `[n, key-value width]`: the heads of a row side by side, as they are computed.
    Together(Matrix<'a>),
    /// The rows of each head behind each other, as one query after another reads them.
    Apart {
        /// `[key-value heads · room, dim]`
        rows: Matrix<'a>,
        /// Rows from one head to the next.
        room: usize,
        /// Rows of each head.
        used: usize,
    },
    /// As [`Self::Apart`] with [`PANEL`] rows at a time transposed, so that scores of neighbouring keys lie side by side as they
    /// are computed. For keys of a forward pass alone.
    Panels {
        /// `[key-value heads · room / PANEL · dim, PANEL]`; what lies behind the last row is read, but not used.
        panels: Matrix<'a>,
        /// Rows from one head to the next, a multiple of [`PANEL`].
        room: usize,
        /// Rows of each head.
        used: usize,
    },
}

impl<'a> HeadRows<'a> {
    /// Rows of each head.
    pub fn rows(self) -> usize {
        match self {
            Self::Together(rows) => rows.rows(),
            Self::Apart { used, .. } | Self::Panels { used, .. } => used,
        }
    }

    /// The rows of one head.
    fn head(self, heads: Heads, head: usize) -> Result<OneHead<'a>, OpError> {
        Ok(match self {
            Self::Together(rows) => OneHead::Rows(rows.column_range(head * heads.dim, heads.dim)?),
            Self::Apart { rows, room, used } => OneHead::Rows(rows.row_range(head * room, used)?),
            Self::Panels { panels, room, used } => {
                let first = head * room / PANEL * heads.dim;
                OneHead::Panels(panels.row_range(first, used.div_ceil(PANEL) * heads.dim)?)
            }
        })
    }

    /// Shape that its matrix has, and that it should have; none fits where a head has more rows than room.
    fn shapes(self, heads: Heads) -> [(usize, usize); 2] {
        let (rows, expected) = match self {
            Self::Together(rows) => (rows, (rows.rows(), heads.key_value_width())),
            Self::Apart { rows, room, used } => {
                let per_head = if used > room { usize::MAX } else { room };
                (rows, (heads.key_value.saturating_mul(per_head), heads.dim))
            }
            Self::Panels { panels, room, used } => {
                let is_whole = used <= room && room.is_multiple_of(PANEL);
                let per_head = if is_whole { room / PANEL * heads.dim } else { usize::MAX };
                (panels, (heads.key_value.saturating_mul(per_head), PANEL))
            }
        };
        [(rows.rows(), rows.columns()), expected]
    }
}

/// Keys or values of one head.
#[derive(Clone, Copy)]
enum OneHead<'a> {
    /// `[n, dim]`
    Rows(Matrix<'a>),
    /// `[panels · dim, PANEL]`
    Panels(Matrix<'a>),
}

impl<'a> OneHead<'a> {
    /// `[n, dim]`; refused where they are in panels.
    fn rows(self, operand: &'static str, dim: usize) -> Result<Matrix<'a>, OpError> {
        match self {
            Self::Rows(rows) => Ok(rows),
            Self::Panels(panels) => Err(OpError::Shape {
                operation: OPERATION,
                operand,
                got: (panels.rows(), panels.columns()),
                expected: (self.width(dim), dim),
            }),
        }
    }

    /// Those from row `from` to before `until`, or from an earlier one where a panel begins; and which is their first.
    fn seen(self, dim: usize, from: usize, until: usize) -> Result<(Self, usize), OpError> {
        Ok(match self {
            Self::Rows(rows) => (Self::Rows(rows.row_range(from, until - from)?), from),
            Self::Panels(panels) => {
                let (first, end) = (from / PANEL, until.div_ceil(PANEL));
                (Self::Panels(panels.row_range(first * dim, (end - first) * dim)?), first * PANEL)
            }
        })
    }

    /// How many there are, with those that fill the last panel.
    fn width(self, dim: usize) -> usize {
        match self {
            Self::Rows(rows) => rows.rows(),
            Self::Panels(panels) => panels.rows() / dim.max(1) * PANEL,
        }
    }
}

impl Span<'_> {
    /// Keys before the first query's own.
    fn offset(&self) -> usize {
        self.keys.rows() - self.rows
    }
}

fn check_spans(heads: Heads, spans: &[Span<'_>], query_values: usize) -> Result<usize, OpError> {
    let rows: usize = spans.iter().map(|span| span.rows).sum();
    check_length(OPERATION, "queries", query_values, rows * heads.query_width())?;
    let refused =
        |operand, got, expected| Err(OpError::Shape { operation: OPERATION, operand, got, expected });
    let shared = heads.group() * heads.key_value;
    if shared != heads.query {
        return refused("heads", (heads.query, heads.key_value), (shared, heads.key_value));
    }
    for span in spans {
        let (keys, width) = (span.keys.rows().max(span.rows), heads.key_value_width());
        for (operand, given) in [("keys", span.keys), ("values", span.values)] {
            if given.rows() != keys {
                return refused(operand, (given.rows(), width), (keys, width));
            }
            let [got, expected] = given.shapes(heads);
            if got != expected {
                return refused(operand, got, expected);
            }
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
