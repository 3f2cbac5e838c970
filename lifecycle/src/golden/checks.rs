//! What an answer to a golden sample must hold, whatever a judge thinks of it.

use serde::{Deserialize, Serialize};

/// Checks of an answer that need no judge; a failed one caps the accuracy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerChecks {
    /// Provisions that the answer must cite, e.g. `§ 35 Abs. 1 BauGB`; blanks and their kinds do not matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub must_cite: Vec<String>,
    /// Texts that the answer must contain; case and blanks do not matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub must_contain: Vec<String>,
    /// Texts that it must not contain; case and blanks do not matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub must_not_contain: Vec<String>,
    /// Language of the answer as ISO 639-1, e.g. `de`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Fewest characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_chars: Option<u32>,
    /// Most characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<u32>,
}

impl AnswerChecks {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The parts of a digest; none when nothing is asked.
    pub(super) fn append_parts(&self, add: &mut impl FnMut(&'static str, &str)) {
        let lists = [
            ("must_cite", &self.must_cite),
            ("must_contain", &self.must_contain),
            ("must_not_contain", &self.must_not_contain),
        ];
        for (label, texts) in lists {
            for text in texts {
                add(label, text);
            }
        }
        if let Some(language) = &self.language {
            add("language", language);
        }
        for (label, chars) in [("min_chars", self.min_chars), ("max_chars", self.max_chars)] {
            if let Some(chars) = chars {
                add(label, &chars.to_string());
            }
        }
    }
}
