//! Flags for how often the judge may be asked, and what it may cost.

use clap::Args;
use clara_lifecycle::spec::JudgeOptions;

use super::set;

/// Limits of the judge.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits of the judge")]
pub(crate) struct JudgeLimitArgs {
    /// Calls to the judge in flight at once [default: 4; 8 where the base model judges]
    #[arg(long, value_name = "CALLS", allow_negative_numbers = true)]
    judge_concurrency: Option<u32>,
    /// Calls to the judge per minute at most [default: 0, no limit]
    #[arg(long, value_name = "CALLS", allow_negative_numbers = true)]
    judge_requests_per_minute: Option<u32>,
    /// Tokens of its prompts and replies per minute at most [default: 0, no limit]
    #[arg(long, value_name = "TOKENS", allow_negative_numbers = true)]
    judge_tokens_per_minute: Option<u32>,
    /// The most that the job may spend on its judge, counted by the two prices; then it is stuck and can go on with more
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    judge_budget: Option<f64>,
    /// Price of a million tokens that the judge reads, in the currency of the budget [default: 0]
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    judge_prompt_price: Option<f64>,
    /// Price of a million tokens that the judge writes [default: 0]
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    judge_reply_price: Option<f64>,
    /// Ask the judge anew, even where an earlier job has its reply to the same question
    #[arg(long)]
    no_judge_cache: bool,
}

impl JudgeLimitArgs {
    /// Changes what was given.
    pub(super) fn apply(&self, judge: &mut JudgeOptions) {
        set(&mut judge.concurrency, self.judge_concurrency);
        set(&mut judge.requests_per_minute, self.judge_requests_per_minute);
        set(&mut judge.tokens_per_minute, self.judge_tokens_per_minute);
        judge.cache &= !self.no_judge_cache;
        let amounts = [self.judge_budget, self.judge_prompt_price, self.judge_reply_price];
        if amounts.iter().all(Option::is_none) {
            return;
        }
        let budget = judge.budget.get_or_insert_default();
        budget.most = self.judge_budget.or(budget.most);
        set(&mut budget.prompt_price, self.judge_prompt_price);
        set(&mut budget.reply_price, self.judge_reply_price);
    }
}
