//! The German rubric.

use clara_lifecycle::score::Criterion;

use super::{Entry, Rubric};

pub(super) static RUBRIC: Rubric = Rubric {
    version: "de-1",
    entries: [
        Entry {
            criterion: Criterion::Accuracy,
            question: "Ist die Antwort sachlich richtig, gemessen an der Referenz?",
            anchors: [
                (10, "alles richtig, Vorschriften richtig genannt"),
                (8, "im Ergebnis richtig, nur Nebensachen ungenau"),
                (5, "teils richtig, teils falsch"),
                (2, "im Ergebnis falsch, einzelne Angaben richtig"),
                (0, "falsch, erfunden oder keine Aussage zur Sache"),
            ],
        },
        Entry {
            criterion: Criterion::Relevance,
            question: "Beantwortet sie die gestellte Frage?",
            anchors: [
                (10, "beantwortet genau die Frage"),
                (8, "beantwortet die Frage mit kleinen Abschweifungen"),
                (5, "berührt die Frage nur zum Teil"),
                (2, "behandelt nur das weitere Thema"),
                (0, "hat mit der Frage nichts zu tun"),
            ],
        },
        Entry {
            criterion: Criterion::Style,
            question: "Entspricht die Sprache dem Fachgebiet?",
            anchors: [
                (10, "klare, genaue Fachsprache"),
                (8, "überwiegend fachgerecht"),
                (5, "verständlich, aber ungenau oder umgangssprachlich"),
                (2, "schwer verständlich oder in falscher Sprache"),
                (0, "unlesbar oder leer"),
            ],
        },
        Entry {
            criterion: Criterion::Completeness,
            question: "Enthält sie alle wesentlichen Punkte der Referenz?",
            anchors: [
                (10, "alle wesentlichen Punkte"),
                (8, "ein unwesentlicher Punkt fehlt"),
                (5, "etwa die Hälfte der Punkte"),
                (2, "nur ein einzelner Punkt"),
                (0, "kein Punkt der Referenz"),
            ],
        },
        Entry {
            criterion: Criterion::Coherence,
            question: "Ist sie in sich schlüssig und geordnet?",
            anchors: [
                (10, "schlüssig und gut geordnet"),
                (8, "schlüssig mit kleinen Brüchen"),
                (5, "Zusammenhang lückenhaft oder Wiederholungen"),
                (2, "widersprüchlich oder ohne Ordnung"),
                (0, "kein Zusammenhang"),
            ],
        },
    ],
};
