//! Four eyes: an approval by people counts when two of them agree and at least one had no part in the version.

use super::AdapterVersion;

/// What stands of an approval that needs four eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FourEyes {
    /// Two people approve, and at least one of them is independent.
    Complete,
    /// Somebody else must approve too.
    Waits {
        /// Why, and who cannot be the other one.
        reason: String,
    },
}

/// Why an approval is refused at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FourEyesError {
    /// The person approved before.
    #[error(
        "{actor} approved {adapter_id} before; with registry.four_eyes another person must approve it too"
    )]
    SamePerson {
        /// Who.
        actor: String,
        /// The version.
        adapter_id: String,
    },
    /// Both people had a part in the version.
    #[error(
        "{actor} {part}, and so did {other} have a part in {adapter_id}; with registry.four_eyes one of the two who \
         approve must have neither submitted the job nor labelled its answers"
    )]
    NobodyIndependent {
        /// Who.
        actor: String,
        /// What they did.
        part: &'static str,
        /// Who approved before.
        other: String,
        /// The version.
        adapter_id: String,
    },
}

impl AdapterVersion {
    /// What an approval by `actor` does, where `labellers` labelled answers of this version.
    ///
    /// # Errors
    /// [`FourEyesError`] when the approval cannot count.
    pub fn four_eyes(&self, actor: &str, labellers: &[String]) -> Result<FourEyes, FourEyesError> {
        let submitter = self.lineage.as_ref().and_then(|lineage| lineage.submitted_by.as_deref());
        let part_of = |person: &str| {
            if submitter == Some(person) {
                Some("submitted the job")
            } else {
                labellers.iter().any(|labeller| labeller == person).then_some("labelled its answers")
            }
        };
        let approvers = self.approvers();
        let adapter_id = self.adapter_id.clone();
        if approvers.contains(&actor) {
            return Err(FourEyesError::SamePerson { actor: actor.to_owned(), adapter_id });
        }
        let part = part_of(actor);
        let Some(first) = approvers.first() else {
            let reason = match part {
                Some(part) => format!(
                    "{actor} {part} and cannot approve {adapter_id} alone: a second, independent person must approve it too"
                ),
                None => format!("a second person must approve {adapter_id} too"),
            };
            return Ok(FourEyes::Waits { reason });
        };
        match part {
            Some(part) if approvers.iter().all(|person| part_of(person).is_some()) => {
                let (actor, other) = (actor.to_owned(), (*first).to_owned());
                Err(FourEyesError::NobodyIndependent { actor, part, other, adapter_id })
            }
            Some(_) | None => Ok(FourEyes::Complete),
        }
    }
}
