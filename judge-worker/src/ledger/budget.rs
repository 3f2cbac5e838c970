//! Holds money back before a call, so that no call can spend more than the job may.

use super::{Ledger, Tokens};
use crate::client::CallError;

/// Money held back for one call until it is paid or fails.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    ledger: &'a Ledger,
    micros: u64,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.ledger.book.lock().held_micros -= self.micros;
        self.ledger.settled.notify_waiters();
    }
}

impl Ledger {
    /// Holds back what a call may cost at most; waits while calls on their way might leave enough.
    ///
    /// # Errors
    /// [`CallError::Budget`] when the call might spend more than the job may.
    pub(crate) async fn hold(&self, most_tokens: Tokens) -> Result<Hold<'_>, CallError> {
        let limit = self.terms.budget.as_ref().and_then(|budget| Some((budget, budget.most_micros()?)));
        let Some((budget, most)) = limit else { return Ok(Hold { ledger: self, micros: 0 }) };
        let micros = self.cost(most_tokens);
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            {
                let mut book = self.book.lock();
                if let Some(error) = &book.halted {
                    return Err(error.clone());
                }
                let spent = self.cost(book.tokens);
                let needed = spent.saturating_add(micros);
                if needed.saturating_add(book.held_micros) <= most {
                    book.held_micros += micros;
                    return Ok(Hold { ledger: self, micros });
                }
                if needed > most || book.held_micros == 0 {
                    let (spent, next, most) =
                        (budget.amount(spent), budget.amount(micros), budget.amount(most));
                    return Err(CallError::Budget { spent, next, most });
                }
            }
            settled.await;
        }
    }
}
