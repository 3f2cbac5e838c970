//! What judging may cost: prices per token, and the most that one job may spend.

use serde::{Deserialize, Serialize};

use super::problems::Findings;

/// Millionths of a currency, the unit in which costs are counted.
const MICROS: f64 = 1_000_000.0;

/// The most money that a budget can name; far below what is counted exactly.
const MOST_MONEY: f64 = 1_000_000_000.0;

/// What judging may cost. Amounts are in `currency`; prices are per million tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeBudget {
    /// The most that the job may spend on its judge over all attempts; without it costs are counted only.
    pub most: Option<f64>,
    /// Price of a million tokens that the judge reads.
    pub prompt_price: f64,
    /// Price of a million tokens that the judge writes.
    pub reply_price: f64,
    /// Name of the currency, e.g. `EUR`.
    pub currency: String,
}

impl Default for JudgeBudget {
    fn default() -> Self {
        Self { most: None, prompt_price: 0.0, reply_price: 0.0, currency: "USD".to_owned() }
    }
}

impl JudgeBudget {
    /// The same with another limit.
    #[must_use]
    pub fn with_most(self, most: f64) -> Self {
        Self { most: Some(most), ..self }
    }

    /// What so many tokens cost, in millionths of the currency, rounded once over the whole.
    pub fn cost_micros(&self, prompt_tokens: u64, reply_tokens: u64) -> u64 {
        let of = |tokens: u64, price: f64| u128::from(tokens) * u128::from(micros(price));
        let cost = of(prompt_tokens, self.prompt_price) + of(reply_tokens, self.reply_price);
        // A million tokens cost the price.
        u64::try_from((cost + 500_000) / 1_000_000).unwrap_or(u64::MAX)
    }

    /// The most that may be spent, in millionths of the currency.
    pub fn most_micros(&self) -> Option<u64> {
        self.most.map(micros)
    }

    /// An amount of so many millionths, as people write it.
    pub fn amount(&self, micros: u64) -> String {
        format!("{}.{:06} {}", micros / 1_000_000, micros % 1_000_000, self.currency)
    }

    pub(super) fn check(&self, found: &mut Findings) {
        let is_money = |amount: f64| (0.0..=MOST_MONEY).contains(&amount);
        for (field, amount) in [
            ("judge.budget.prompt_price", self.prompt_price),
            ("judge.budget.reply_price", self.reply_price),
            ("judge.budget.most", self.most.unwrap_or_default()),
        ] {
            found.require(field, is_money(amount), || format!("is {amount}; expected 0 to {MOST_MONEY}"));
        }
        let is_free = self.prompt_price == 0.0 && self.reply_price == 0.0;
        found.require("judge.budget.most", self.most.is_none() || !is_free, || {
            "limits nothing, since both prices are 0; give prompt_price and reply_price per million tokens".into()
        });
        found.require("judge.budget.currency", !self.currency.trim().is_empty(), || {
            "is empty; expected a name such as EUR".into()
        });
    }
}

/// An amount of money in millionths; what is no amount counts as 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a range whose millionths fit"
)]
fn micros(amount: f64) -> u64 {
    (amount.clamp(0.0, MOST_MONEY) * MICROS).round() as u64
}
