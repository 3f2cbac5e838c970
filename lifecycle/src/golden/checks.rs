//! What an answer to a golden sample must hold, whatever a judge thinks of it.

use serde::{Deserialize, Serialize};

use crate::{
    citation::{Cited, RequiredCitation},
    language,
    score::{CheckCode, CheckFinding},
    text::{collapse, visible},
};

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

    /// What a text fails of these checks; every one is hard. Blanks, case, Unicode form and invisible characters do
    /// not matter.
    pub fn failed_by(&self, text: &str) -> Vec<CheckFinding> {
        let seen = visible(text);
        let mut findings = self.citations_missing(&seen);
        let spelled = collapse(&seen);
        for wanted in self.must_contain.iter().filter(|wanted| !spelled.contains(&comparable(wanted))) {
            findings.push(CheckCode::TextMissing.hard(format!("`{wanted}` does not occur")));
        }
        for unwanted in
            self.must_not_contain.iter().filter(|unwanted| spelled.contains(&comparable(unwanted)))
        {
            findings.push(CheckCode::TextForbidden.hard(format!("`{unwanted}` occurs")));
        }
        if let (Some(expected), Some(found)) = (self.language.as_deref(), language::detect(&seen))
            && expected != found
        {
            let text = format!("the language is `{found}`, expected `{expected}`");
            findings.push(CheckCode::OtherLanguage.hard(text));
        }
        let chars = u32::try_from(seen.trim().chars().count()).unwrap_or(u32::MAX);
        if let Some(least) = self.min_chars.filter(|least| chars < *least) {
            findings.push(CheckCode::TooShort.hard(format!("{chars} characters, expected at least {least}")));
        }
        if let Some(most) = self.max_chars.filter(|most| chars > *most) {
            findings.push(CheckCode::TooLong.hard(format!("{chars} characters, expected at most {most}")));
        }
        findings
    }

    /// Everything that is wrong with the checks themselves, each with what was expected.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self
            .must_cite
            .iter()
            .filter_map(|text| text.parse::<RequiredCitation>().err())
            .map(|error| format!("must_cite: {error}"))
            .collect();
        let lists = [("must_contain", &self.must_contain), ("must_not_contain", &self.must_not_contain)];
        for (name, _) in
            lists.iter().filter(|(_, texts)| texts.iter().any(|text| comparable(text).is_empty()))
        {
            problems.push(format!("{name} holds an empty text; write what is meant or leave it out"));
        }
        if let Some(code) = self.language.as_deref().filter(|code| !language::is_known(code)) {
            let known = language::codes().collect::<Vec<_>>().join(", ");
            problems.push(format!("language is `{code}`; expected one of {known}"));
        }
        if let (Some(least), Some(most)) = (self.min_chars, self.max_chars)
            && least > most
        {
            problems.push(format!("min_chars is {least} and max_chars {most}; no text can be both"));
        }
        problems
    }

    /// A citation that cannot be read is looked for as a text, so that a check never falls silent.
    fn citations_missing(&self, seen: &str) -> Vec<CheckFinding> {
        if self.must_cite.is_empty() {
            return Vec::new();
        }
        let (cited, spelled) = (Cited::of(seen), collapse(seen));
        let holds = |text: &String| match text.parse::<RequiredCitation>() {
            Ok(required) => cited.holds(&required),
            Err(_) => spelled.contains(&comparable(text)),
        };
        let missing = self.must_cite.iter().filter(|text| !holds(text));
        missing.map(|text| CheckCode::CitationMissing.hard(format!("`{text}` is not cited"))).collect()
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

fn comparable(text: &str) -> String {
    collapse(&visible(text))
}
