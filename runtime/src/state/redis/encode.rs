//! Commits and pages as arguments of Redis.

use clara_lifecycle::time::Timestamp;
use rmp::encode::ByteBuf;

use crate::state::{Body, Commit, Order, Page, Write};

/// A commit as `commit.lua` takes it: the packed lists that it names, then the bodies.
pub(super) fn commit(commit: &Commit) -> Vec<Vec<u8>> {
    let mut packed = Packed { lists: ByteBuf::new(), arguments: vec![Vec::new()] };
    packed.list(7);
    packed.text(&commit.id);
    packed.list(2 * commit.limits.len());
    for limit in &commit.limits {
        packed.text(&limit.index);
        packed.text(&limit.below.to_string());
    }
    packed.list(commit.writes.len());
    for write in &commit.writes {
        packed.write(write);
    }
    packed.list(3 * commit.indexes.len());
    for change in &commit.indexes {
        packed.text(&change.index);
        packed.text(&change.member);
        packed.text(if change.present { "1" } else { "0" });
    }
    packed.list(2 * commit.events.len());
    for (stream, body) in &commit.events {
        packed.text(stream);
        packed.body(body);
    }
    packed.list(2 * commit.outbox.len());
    for entry in &commit.outbox {
        packed.text(&entry.not_before.0.to_string());
        packed.text(&entry.text);
    }
    packed.list(2 * commit.deadlines.len());
    for deadline in &commit.deadlines {
        packed.text(&deadline.key.to_string());
        packed.text(&deadline.at.map(|at| at.0.to_string()).unwrap_or_default());
    }
    let Packed { lists, mut arguments } = packed;
    if let Some(first) = arguments.first_mut() {
        *first = lists.into_vec();
    }
    arguments
}

/// A commit's arguments in the making.
struct Packed {
    lists: ByteBuf,
    /// Room for the lists, then the bodies: Lua hashes every byte of a text each time that it makes one, so they are not
    /// packed, too.
    arguments: Vec<Vec<u8>>,
}

impl Packed {
    /// Begins a list of so many items.
    #[expect(clippy::cast_possible_truncation, reason = "a commit of 2^32 items does not fit into memory")]
    fn list(&mut self, items: usize) {
        let Ok(_) = rmp::encode::write_array_len(&mut self.lists, items as u32);
    }

    fn text(&mut self, text: &str) {
        let Ok(()) = rmp::encode::write_str(&mut self.lists, text);
    }

    fn body(&mut self, body: &str) {
        let Ok(_) = rmp::encode::write_uint(&mut self.lists, self.arguments.len() as u64);
        self.arguments.push(body.as_bytes().to_vec());
    }

    fn write(&mut self, write: &Write) {
        let Write { key, expected, body } = write;
        let (change, fields) = match body {
            Body::Keep => ("keep", None),
            Body::Put { body, parts } => ("put", Some((body, parts))),
            Body::Remove => ("remove", None),
        };
        self.list(5);
        self.text(key.kind);
        self.text(&key.id);
        self.text(&expected.map(|version| version.to_string()).unwrap_or_default());
        self.text(change);
        let Some((body, parts)) = fields else { return self.list(0) };
        self.list(6 + 2 * parts.len());
        for text in ["v", "", "c", "", "b"] {
            self.text(text);
        }
        self.body(body);
        for (name, body) in parts {
            self.text(&format!("p:{name}"));
            self.body(body);
        }
    }
}

/// Reads members of a sorted set with scores up to `until`, the smallest first.
pub(super) fn up_to(key: String, until: Timestamp, limit: usize) -> redis::Cmd {
    let mut query = redis::cmd("ZRANGE");
    query.arg(key).arg("-inf").arg(until.0).arg("BYSCORE").arg("LIMIT").arg(0).arg(limit);
    query
}

/// Reads a page of a sorted set whose scores are all 0.
pub(super) fn range(key: String, page: &Page) -> redis::Cmd {
    let mut query = redis::cmd("ZRANGE");
    query.arg(key);
    let beyond = page.after.as_ref().map(|after| format!("({after}"));
    match page.order {
        Order::Ascending => query.arg(beyond.as_deref().unwrap_or("-")).arg("+").arg("BYLEX"),
        Order::Descending => query.arg(beyond.as_deref().unwrap_or("+")).arg("-").arg("BYLEX").arg("REV"),
    };
    query.arg("LIMIT").arg(0).arg(page.limit);
    query
}
