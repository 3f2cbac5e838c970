//! The English rubric.

use clara_lifecycle::score::Criterion;

use super::{Entry, Rubric};

pub(super) static RUBRIC: Rubric = Rubric {
    version: "en-1",
    entries: [
        Entry {
            criterion: Criterion::Accuracy,
            question: "Is the answer right, measured by the reference?",
            anchors: [
                (10, "all of it is right, provisions are named rightly"),
                (8, "right in its result, only side issues are inexact"),
                (5, "partly right, partly wrong"),
                (2, "wrong in its result, single statements are right"),
                (0, "wrong, invented, or says nothing on the matter"),
            ],
        },
        Entry {
            criterion: Criterion::Relevance,
            question: "Does it answer the question that was asked?",
            anchors: [
                (10, "answers exactly this question"),
                (8, "answers it with small digressions"),
                (5, "touches the question only in part"),
                (2, "stays with the wider topic"),
                (0, "has nothing to do with the question"),
            ],
        },
        Entry {
            criterion: Criterion::Style,
            question: "Is it written in the language of the field?",
            anchors: [
                (10, "clear and exact technical language"),
                (8, "mostly fit for the field"),
                (5, "understandable, but inexact or colloquial"),
                (2, "hard to understand, or in the wrong language"),
                (0, "unreadable or empty"),
            ],
        },
        Entry {
            criterion: Criterion::Completeness,
            question: "Does it hold all essential points of the reference?",
            anchors: [
                (10, "all essential points"),
                (8, "one minor point is missing"),
                (5, "about half of the points"),
                (2, "one single point"),
                (0, "no point of the reference"),
            ],
        },
        Entry {
            criterion: Criterion::Coherence,
            question: "Is it consistent and in order?",
            anchors: [
                (10, "consistent and well ordered"),
                (8, "consistent with small breaks"),
                (5, "gaps in the line of thought, or repetitions"),
                (2, "contradictory or without order"),
                (0, "no line of thought"),
            ],
        },
    ],
};
