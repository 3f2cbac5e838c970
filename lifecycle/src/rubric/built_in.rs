//! The rubrics that come with Clara, in German and in English.

use super::{AppliesWhen, Language, Rubric, RubricCriterion};
use crate::score::Criterion;

/// A criterion with its question and the texts of the scores 0 to 5.
type Entry = (Criterion, &'static str, [&'static str; 6]);

pub(super) fn rubric(language: Language) -> Rubric {
    let (version, entries) = match language {
        Language::German => ("de-2", &GERMAN),
        Language::English => ("en-2", &ENGLISH),
    };
    let criterion = |(criterion, question, anchors): &Entry| RubricCriterion {
        criterion: *criterion,
        weight: criterion.weight(),
        question: (*question).to_owned(),
        anchors: anchors.map(str::to_owned).into(),
        applies_when: AppliesWhen::Always,
        hard_fail: None,
    };
    Rubric { version: version.to_owned(), language, criteria: entries.iter().map(criterion).collect() }
}

static GERMAN: [Entry; 5] = [
    (
        Criterion::Accuracy,
        "Ist die Antwort sachlich richtig, gemessen an der Referenz?",
        [
            "falsch, erfunden oder keine Aussage zur Sache",
            "im Ergebnis falsch, einzelne Angaben richtig",
            "teils richtig, teils falsch, im Ergebnis zweifelhaft",
            "im Ergebnis richtig, aber mit sachlichen Fehlern",
            "im Ergebnis richtig, nur Nebensachen ungenau",
            "alles richtig, Vorschriften richtig genannt",
        ],
    ),
    (
        Criterion::Relevance,
        "Beantwortet sie die gestellte Frage?",
        [
            "hat mit der Frage nichts zu tun",
            "behandelt nur das weitere Thema",
            "berührt die Frage nur zum Teil",
            "beantwortet die Frage, schweift aber deutlich ab",
            "beantwortet die Frage mit kleinen Abschweifungen",
            "beantwortet genau die Frage",
        ],
    ),
    (
        Criterion::Style,
        "Entspricht die Sprache dem Fachgebiet?",
        [
            "unlesbar oder leer",
            "schwer verständlich oder in falscher Sprache",
            "verständlich, aber ungenau oder umgangssprachlich",
            "verständlich, Fachsprache mit Fehlern",
            "überwiegend fachgerecht",
            "klare, genaue Fachsprache",
        ],
    ),
    (
        Criterion::Completeness,
        "Enthält sie alle wesentlichen Punkte der Referenz?",
        [
            "kein Punkt der Referenz",
            "nur ein einzelner Punkt",
            "weniger als die Hälfte der Punkte",
            "mehr als die Hälfte der Punkte",
            "ein unwesentlicher Punkt fehlt",
            "alle wesentlichen Punkte",
        ],
    ),
    (
        Criterion::Coherence,
        "Ist sie in sich schlüssig und geordnet?",
        [
            "kein Zusammenhang",
            "widersprüchlich oder ohne Ordnung",
            "Zusammenhang lückenhaft oder Wiederholungen",
            "meist schlüssig, einzelne Brüche",
            "schlüssig mit kleinen Brüchen",
            "schlüssig und gut geordnet",
        ],
    ),
];

static ENGLISH: [Entry; 5] = [
    (
        Criterion::Accuracy,
        "Is the answer right, measured by the reference?",
        [
            "wrong, invented, or says nothing on the matter",
            "wrong in its result, single statements are right",
            "partly right, partly wrong, doubtful in its result",
            "right in its result, but with errors in substance",
            "right in its result, only side issues are inexact",
            "all of it is right, provisions are named rightly",
        ],
    ),
    (
        Criterion::Relevance,
        "Does it answer the question that was asked?",
        [
            "has nothing to do with the question",
            "stays with the wider topic",
            "touches the question only in part",
            "answers the question, but digresses a lot",
            "answers it with small digressions",
            "answers exactly this question",
        ],
    ),
    (
        Criterion::Style,
        "Is it written in the language of the field?",
        [
            "unreadable or empty",
            "hard to understand, or in the wrong language",
            "understandable, but inexact or colloquial",
            "understandable, technical language with errors",
            "mostly fit for the field",
            "clear and exact technical language",
        ],
    ),
    (
        Criterion::Completeness,
        "Does it hold all essential points of the reference?",
        [
            "no point of the reference",
            "one single point",
            "less than half of the points",
            "more than half of the points",
            "one minor point is missing",
            "all essential points",
        ],
    ),
    (
        Criterion::Coherence,
        "Is it consistent and in order?",
        [
            "no line of thought",
            "contradictory or without order",
            "gaps in the line of thought, or repetitions",
            "mostly consistent, single breaks",
            "consistent with small breaks",
            "consistent and well ordered",
        ],
    ),
];
