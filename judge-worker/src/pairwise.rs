//! Candidate beside champion: every judge compares both in either order, and the majority of each order counts.

use clara_lifecycle::score::{PairwiseResult, Preference};
use clara_runtime::stop::StopSignal;
use futures::future::try_join_all;

use crate::{
    client::CallError,
    panel::Panel,
    parse::Better,
    score::{KeptReply, Subject},
};

impl Panel {
    /// Compares two answers to one sample; no result when no judge gave a verdict for one of the orders. Equal answers
    /// are a tie, and nobody is asked.
    ///
    /// # Errors
    /// [`CallError`] when an endpoint as a whole fails.
    pub(crate) async fn compare(
        &self,
        candidate: Subject<'_>,
        champion: Subject<'_>,
        stop: &StopSignal,
    ) -> Result<(Option<PairwiseResult>, Vec<KeptReply>), CallError> {
        let result = |candidate_first, champion_first| PairwiseResult {
            sample_id: candidate.sample.sample_id.clone(),
            candidate_first,
            champion_first,
        };
        if candidate.answer.trim() == champion.answer.trim() {
            return Ok((Some(result(Preference::Tie, Preference::Tie)), Vec::new()));
        }
        let verdicts = self.judges.iter().map(|judge| async move {
            let mut kept = Vec::new();
            let one = judge.compare(candidate, champion, stop, &mut kept).await?;
            let other = judge.compare(champion, candidate, stop, &mut kept).await?;
            Ok::<_, CallError>((one.ok(), other.ok(), kept))
        });
        let verdicts = try_join_all(verdicts).await?;
        let (mut candidate_first, mut champion_first, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (one, other, replies) in verdicts {
            candidate_first.extend(one.map(|better| preference(better, true)));
            champion_first.extend(other.map(|better| preference(better, false)));
            kept.extend(replies);
        }
        let both = majority(&candidate_first).zip(majority(&champion_first));
        Ok((both.map(|(one, other)| result(one, other)), kept))
    }
}

fn preference(better: Better, candidate_is_first: bool) -> Preference {
    match (better, candidate_is_first) {
        (Better::Tie, _) => Preference::Tie,
        (Better::First, true) | (Better::Second, false) => Preference::Candidate,
        (Better::First, false) | (Better::Second, true) => Preference::Champion,
    }
}

/// What most judges say: the sign of the mean, ties as halves. `None` when nobody says anything.
fn majority(preferences: &[Preference]) -> Option<Preference> {
    let values: Vec<f64> = preferences.iter().map(|preference| preference.value()).collect();
    let mean = clara_lifecycle::statistics::mean(&values)?;
    Some(if mean > 0.5 {
        Preference::Candidate
    } else if mean < 0.5 {
        Preference::Champion
    } else {
        Preference::Tie
    })
}
