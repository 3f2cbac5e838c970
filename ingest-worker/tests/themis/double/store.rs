//! The documents of the double, their changefeed, and made-up sections to fill it with.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Documents by primary key, as their stored text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    pub(crate) documents: BTreeMap<String, Vec<u8>>,
    pub(crate) events: Vec<Event>,
}

/// One change.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) sequence: u64,
    pub(crate) key: String,
    /// `None` when it was deleted.
    pub(crate) value: Option<String>,
}

/// What made-up sections speak about.
const SUBJECTS: [&str; 6] = [
    "Die Errichtung einer Photovoltaik auf Dächern ist verfahrensfrei, soweit sie sich der Gestalt unterordnet",
    "Das Baurecht der Länder regelt, welche Abstände zur Grenze des Nachbarn einzuhalten sind",
    "Im Baurecht gilt die Photovoltaik an Fassaden als untergeordneter Bauteil der Anlage",
    "Der Widerspruch gegen den Bescheid ist innerhalb eines Monats schriftlich zu erheben",
    "Photovoltaikanlagen im Außenbereich dienen einem Vorhaben, das der Betrieb benötigt",
    "Die Anhörung der Beteiligten geht dem Erlass belastender Verwaltungsakte voraus",
];

impl Store {
    /// `count` made-up sections with the keys `d0000`, `d0001`, …; each ninth is of another domain, each tenth of none.
    pub(crate) fn sections(count: usize) -> Self {
        let mut store = Self::default();
        for number in 0..count {
            store.put(&format!("d{number:04}"), &section(number));
        }
        store
    }

    /// These documents, with their `text` as `content`.
    pub(crate) fn of(documents: &[Value]) -> Self {
        let mut store = Self::default();
        for document in documents {
            let mut document = document.clone();
            document["content"] = document["text"].take();
            store.put(document["id"].as_str().unwrap_or_default(), &document);
        }
        store
    }

    /// Stores a document.
    pub(crate) fn put(&mut self, key: &str, document: &Value) {
        let text = document.to_string();
        self.documents.insert(key.to_owned(), text.clone().into_bytes());
        self.event(key, Some(text));
    }

    /// Deletes a document.
    pub(crate) fn delete(&mut self, key: &str) {
        self.documents.remove(key);
        self.event(key, None);
    }

    /// Sequence of the last change.
    pub(crate) fn sequence(&self) -> u64 {
        self.events.last().map_or(0, |event| event.sequence)
    }

    fn event(&mut self, key: &str, value: Option<String>) {
        // Other tables change between ours.
        let sequence = self.sequence() + 1 + (self.events.len() % 3) as u64;
        self.events.push(Event { sequence, key: key.to_owned(), value });
    }
}

/// A made-up section.
pub(crate) fn section(number: usize) -> Value {
    let subject = SUBJECTS.iter().cycle().nth(number % SUBJECTS.len()).unwrap_or(&"");
    let mut document = json!({
        "id": format!("d{number:04}"),
        "title": format!("§ {number} Verfahren"),
        "content": format!("{subject}. Absatz {number} gilt für das Verfahren Nummer {} entsprechend.", number * 7 + 3),
        "domain": "verwaltungsrecht",
        "metadata": { "behoerde": format!("Amt {}", number % 4), "jahr": 2000 + number % 25 },
        "tags": ["muster", "gesetz"],
        "score": 0.123_456_789,
    });
    if number % 9 == 8 {
        document["domain"] = "steuerrecht".into();
    } else if number % 10 == 9 {
        document["domain"] = Value::Null;
    }
    document
}
